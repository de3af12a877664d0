//! Logs in Lambda's JSON format, at Lambda's level.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>

use std::str::FromStr;

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::format::FmtSpan,
    layer::SubscriberExt,
};

/// Starts logging as `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` say, in JSON and at INFO by default. A level
/// that is not understood is INFO. Other crates log nothing below WARN. A release has no code for lines below INFO
/// (Cargo.toml). From then on a panic logs where it happened but not its message, which may quote a prompt. A
/// subscriber that is set already stays.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    // Only Lambda has the level FATAL.
    let level = level.map(|level| if level.eq_ignore_ascii_case("fatal") { "error".to_owned() } else { level });
    let level = level.and_then(|level| LevelFilter::from_str(&level).ok()).unwrap_or(LevelFilter::INFO);
    // Other crates never log below WARN, because their details contain headers and bodies.
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("agent_trigger", level);
    let is_text = std::env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("text"));
    let format = tracing_subscriber::fmt::layer().with_target(false).with_span_events(FmtSpan::NONE);
    let format = if is_text {
        format.with_ansi(false).without_time().boxed()
    } else {
        // Lambda filters by `timestamp` and `level` at the top.
        format.json().flatten_event(true).with_span_list(false).boxed()
    };
    // The filter belongs to the whole subscriber, not to its only layer, which would look up the run's span whenever a
    // piece of an answer wakes it. This call fails only if a subscriber is set already; then that one logs.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(format).with(filter));
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "the function panicked");
    }));
}
