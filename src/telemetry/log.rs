//! Logs in Lambda's JSON format, at Lambda's level.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>

use std::str::FromStr;

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::format::FmtSpan,
    layer::SubscriberExt,
};

/// Starts logging as `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` say, JSON and INFO by default, and makes panics
/// log where they happened but not what they say: their message may quote a prompt.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    // FATAL is a level of Lambda's alone.
    let level = level.map(|level| if level.eq_ignore_ascii_case("fatal") { "error".to_owned() } else { level });
    let level = level.and_then(|level| LevelFilter::from_str(&level).ok()).unwrap_or(LevelFilter::INFO);
    // Others never log below WARN, for their details hold headers and bodies. The runtime's panic layer logs each error
    // that the handler returns; handler.rs has done so.
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("agent_trigger", level)
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
    let is_text = std::env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("text"));
    let format = tracing_subscriber::fmt::layer().with_target(false).with_span_events(FmtSpan::NONE);
    let format = if is_text {
        format.with_ansi(false).without_time().boxed()
    } else {
        // `timestamp` and `level` at the top are what Lambda filters by.
        format.json().flatten_event(true).with_span_list(false).boxed()
    };
    // The filter is one of the whole, not of its only layer, which would look the run's span up whenever a piece of an
    // answer wakes it. Fails only if a subscriber is set already, and then that one logs.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(format).with(filter));
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "the function panicked");
    }));
}
