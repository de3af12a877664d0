//! Metrics in CloudWatch's Embedded Metric Format: one JSON object on one line of standard output for each invocation,
//! and one for each execution that is settled.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Lambda passes on unchanged what a custom runtime writes, in both log formats: it does not encode JSON a second time.
//! In JSON format it drops lines below the log level, treats a line without a `level` or an RFC 3339 `timestamp` as
//! INFO, and adds the timestamp. So each line has both, with a level that passes.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
//!
//! This module is written by hand with serde_json, for 7 KB of the binary. `metrique` (0.1) would add 41 KB and at
//! least 44 crates. It formats through a `&mut`, so invocations at the same time would share it behind a lock, and each
//! of its formatters has fixed dimensions, while the specification requires a value for each.
//! `metrics_cloudwatch_embedded` (0.10) would add 3 crates, but keeps one registry for the process, which would mix
//! such invocations, and one set of dimensions for each object.

use std::{
    borrow::Cow,
    future::poll_fn,
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::FutureExt;
use serde::{Serialize, Serializer, ser::SerializeMap};
use tokio::time::Instant;

use crate::{
    clock::{Rfc3339, millis_since, now_millis},
    config::Config,
    domain::usage::Usage,
    domain::{
        failure::Failure,
        run_state::{Instead, RunFacts, RunState},
        trace::Trace,
    },
};

const NAMESPACE: &str = "AgentTrigger";

/// The dimensions of the two counts that are kept by protocol. CloudWatch charges for every metric of every value, and
/// agents speak one or two protocols. The reason for stopping short is in the object, but is no dimension: `errorType`
/// counts such failures, and the log has the reasons.
const BY_PROTOCOL: &[&[&str]] = &[&["service", "protocol"]];

/// A metric's name, its unit, and its value in a line.
type Metric = (&'static str, &'static str, fn(&MetricsLine<'_>) -> Option<u64>);

/// The metrics. Their names never change, because alarms and dashboards use them.
const METRICS: [Metric; 18] = [
    ("Executions", "Count", |line| Some(line.facts.ends.total())),
    ("Completed", "Count", |line| Some(line.facts.ends.completed)),
    ("Failed", "Count", |line| Some(line.facts.ends.failed)),
    ("Skipped", "Count", |line| Some(line.facts.ends.skipped)),
    ("Cancelled", "Count", |line| Some(line.facts.ends.cancelled)),
    ("Duplicates", "Count", |line| Some(line.facts.duplicates)),
    ("Overlaps", "Count", |line| Some(line.facts.overlaps)),
    ("HeartbeatFailures", "Count", |line| Some(line.facts.heartbeat_failures)),
    ("LeftOut", "Count", |line| Some(line.facts.left_out)),
    ("DetachedFailures", "Count", |line| line.facts.detached_failures),
    ("ColdStart", "Count", |line| line.is_cold_start.map(u64::from)),
    ("DurationMs", "Milliseconds", |line| line.facts.ended_attempt?.duration_ms),
    ("FirstEventMs", "Milliseconds", |line| line.facts.ended_attempt?.first_event_ms),
    ("TokenMs", "Milliseconds", |line| line.facts.token_ms),
    ("ClaimMs", "Milliseconds", |line| line.facts.claim_ms),
    ("InputTokens", "Count", |line| Some(line.usage()?.input_tokens)),
    ("OutputTokens", "Count", |line| Some(line.usage()?.output_tokens)),
    ("StreamBytes", "Bytes", |line| Some(line.facts.ended_attempt?.progress?.bytes)),
];

/// Returns a future that runs `future` and notes how long the caller waited for it. `field` selects the fact that gets
/// the milliseconds. A fact that is there already stays. The time counts from the first poll that was not ready. A
/// future that is ready at once, or is dropped before it is ready, leaves nothing.
pub(crate) fn timed<T>(
    state: &RunState,
    field: fn(&mut RunFacts) -> &mut Option<u64>,
    mut future: impl Future<Output = T> + Unpin,
) -> impl Future<Output = T> + Unpin {
    let mut since = None;
    poll_fn(move |context| {
        let polled = future.poll_unpin(context);
        if polled.is_pending() {
            since.get_or_insert_with(Instant::now);
        } else if let Some(since) = since {
            field(&mut state.facts()).get_or_insert_with(|| millis_since(since));
        }
        polled
    })
}

/// Returns true for the first call in this process. Each invocation calls it once.
pub(crate) fn is_cold_start() -> bool {
    static HAS_STARTED: AtomicBool = AtomicBool::new(false);
    !HAS_STARTED.swap(true, Ordering::Relaxed)
}

/// One line of metrics.
pub(crate) struct MetricsLine<'a> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a RunFacts,
    pub(crate) request_id: &'a str,
    pub(crate) agent_id: Option<&'a str>,
    pub(crate) trigger_id: Option<&'a str>,
    pub(crate) execution_id: Option<&'a str>,
    pub(crate) trace: Option<&'a Trace>,
    pub(crate) failure: Option<&'a Failure>,
    /// True if this is the first invocation of the process. It is `None` if the line describes no invocation.
    pub(crate) is_cold_start: Option<bool>,
}

impl MetricsLine<'_> {
    /// Prints the line with a single write, so that no other output can come between. Errors are ignored.
    pub(crate) fn print(&self) {
        // This is longer than any line without long ids.
        let mut line = Vec::with_capacity(4096);
        if serde_json::to_writer(&mut line, self).is_ok() {
            line.push(b'\n');
            // A failed write cannot be reported anywhere.
            let _ = std::io::stdout().lock().write_all(&line);
        }
    }

    /// Returns the tokens that the agent reported to this invocation. Returns `None` if it reported none, or if no
    /// attempt has ended.
    fn usage(&self) -> Option<Usage> {
        self.facts.ended_attempt?.progress?.usage
    }

    /// Returns the invocation's result in a word. A failure comes first, unless the invocation only found a duplicate
    /// of an execution whose failure is final. Next comes what an invocation without a fire did, and last the ends that
    /// it counted. An invocation that counted none found a duplicate.
    fn status(&self) -> &'static str {
        let RunFacts { ends, duplicates, instead, .. } = self.facts;
        let is_duplicate = *duplicates > 0 && self.failure.is_none_or(|failure| !failure.retryable);
        match (self.failure, instead) {
            (Some(_), _) if !is_duplicate => "failed",
            (None, Some(Instead::Dispatched(_))) => "dispatched",
            (None, Some(Instead::Settled)) => "settled",
            _ if ends.completed > 0 => "completed",
            _ if ends.skipped > 0 => "skipped",
            _ if ends.cancelled > 0 => "cancelled",
            _ => "duplicate",
        }
    }

    /// Returns the level `INFO`, or the one at which Lambda's filter stands if that is higher, so that the line passes
    /// it.
    fn level(&self) -> &'static str {
        let least = self.config.log_level.as_deref().unwrap_or_default();
        ["WARN", "ERROR", "FATAL"].into_iter().find(|level| least.eq_ignore_ascii_case(level)).unwrap_or("INFO")
    }
}

impl Serialize for MetricsLine<'_> {
    /// Writes the line's members. Its dimensions are the service, the agent, and the trigger if the settings ask for
    /// that; ids that can be no dimension are left out of them. Metrics that were not measured are absent. `Failed` is
    /// kept by type only if an execution's end was recorded as failed, and the counts by protocol only if an answer was
    /// read.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { config, facts, failure, .. } = *self;
        let now = now_millis();
        let agent = self.agent_id.and_then(dimension_value);
        let trigger = self.trigger_id.filter(|_| config.metrics_by_trigger).and_then(dimension_value);
        let dimensions: &[&[&str]] = match (&agent, &trigger) {
            (None, None) => &[&["service"]],
            (Some(_), None) => &[&["service"], &["service", "agent"]],
            (None, Some(_)) => &[&["service"], &["service", "trigger"]],
            (Some(_), Some(_)) => &[&["service"], &["service", "agent"], &["service", "trigger"]],
        };
        let protocol = facts.ended_attempt.and_then(|attempt| attempt.protocol);
        let finish_reason = facts.ended_attempt.and_then(|attempt| attempt.finish_reason);
        let directive =
            |dimensions, only| Directive { namespace: NAMESPACE, dimensions, metrics: Definitions(self, only) };
        let mut directives = vec![directive(dimensions, None)];
        if failure.is_some() && facts.ends.failed > 0 {
            directives.push(directive(&[&["service", "errorType"]], Some(&["Failed"])));
        }
        if protocol.is_some() {
            directives.push(directive(BY_PROTOCOL, Some(&["Completed", "Failed"])));
        }
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &Metadata { timestamp: now, cloud_watch_metrics: &directives })?;
        for (name, _, value) in METRICS {
            if let Some(value) = value(self) {
                line.serialize_entry(name, &value)?;
            }
        }
        line.serialize_entry("timestamp", &Rfc3339(now))?;
        let is_skipped = facts.skip_reason.filter(|_| self.status() == "skipped");
        for (name, text) in [
            ("service", dimension_value(&config.function_name)),
            ("agent", agent),
            ("trigger", trigger),
            ("level", Some(self.level().into())),
            ("status", Some(self.status().into())),
            ("protocol", protocol.map(|protocol| protocol.as_str().into())),
            ("finishReason", finish_reason.map(|reason| reason.as_str().into())),
            ("skipReason", is_skipped.map(|reason| reason.as_str().into())),
            ("errorType", failure.map(|failure| failure.error_type.as_str().into())),
            ("requestId", Some(self.request_id.into())),
            ("triggerId", self.trigger_id.map(Cow::from)),
            ("executionId", self.execution_id.map(Cow::from)),
            ("traceId", self.trace.map(|trace| trace.trace_id.as_str().into())),
            ("trace_id", self.trace.and_then(|trace| trace.otel_id.as_deref()).map(Cow::from)),
        ] {
            if let Some(text) = text {
                line.serialize_entry(name, &text)?;
            }
        }
        if let Some(failure) = failure {
            line.serialize_entry("retryable", &failure.retryable)?;
        }
        if let Some(attempt) = &facts.attempt {
            line.serialize_entry("attempt", attempt)?;
        }
        if let Some(Instead::Dispatched(counts)) = &facts.instead {
            for (name, count) in counts {
                line.serialize_entry(name, count)?;
            }
        }
        line.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: i64,
    cloud_watch_metrics: &'a [Directive<'a>],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: &'a [&'a [&'static str]],
    metrics: Definitions<'a>,
}

/// The definitions of the metrics that a line has, or of these alone.
struct Definitions<'a>(&'a MetricsLine<'a>, Option<&'static [&'static str]>);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Serialize for Definitions<'_> {
    /// Writes a list of the metrics that the line has a value for, each with its name and unit, in their fixed order.
    /// If a directive names its metrics, the others are left out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(line, only) = *self;
        let metrics = METRICS.into_iter().filter(|(name, ..)| only.is_none_or(|only| only.contains(name)));
        let metrics = metrics.filter(|(.., value)| value(line).is_some());
        serializer.collect_seq(metrics.map(|(name, unit, _)| Definition { name, unit }))
    }
}

/// Returns `text` as the value of a dimension, or `None` if it is blank. CloudWatch accepts up to 1024 characters of
/// printable ASCII that are not all blank. Other characters, and the backslash, become `\u{…}`, so two values never
/// become the same, except that a longer value is cut.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>
fn dimension_value(text: &str) -> Option<Cow<'_, str>> {
    const LONGEST: usize = 1024;
    let is_plain = |character: char| matches!(character, ' '..='[' | ']'..='~');
    if text.trim().is_empty() {
        return None;
    }
    if text.chars().all(is_plain) {
        return Some(text[..text.len().min(LONGEST)].into());
    }
    let mut value = String::new();
    for character in text.chars() {
        if is_plain(character) {
            value.push(character);
        } else {
            value.extend(character.escape_unicode());
        }
    }
    value.truncate(LONGEST);
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metric_is_told_twice() {
        for (index, (name, ..)) in METRICS.iter().enumerate() {
            assert!(METRICS[..index].iter().all(|(other, ..)| other != name), "{name}");
        }
    }

    #[test]
    fn dimensions_have_the_values_that_cloudwatch_takes() {
        let long = "a".repeat(1025);
        for (text, expected) in [
            ("agent-7", Some("agent-7")),
            (" o'brien \"7\" ", Some(" o'brien \"7\" ")),
            ("\u{fc}\u{1f600}", Some("\\u{fc}\\u{1f600}")),
            ("\\u{fc}", Some("\\u{5c}u{fc}")),
            ("a\nb\u{7f}", Some("a\\u{a}b\\u{7f}")),
            (&long, Some(&long[1..])),
            ("", None),
            (" \t\u{3000}", None),
        ] {
            assert_eq!(dimension_value(text).as_deref(), expected, "{text:?}");
        }
        assert!(dimension_value(&"\u{fc}".repeat(1000)).is_some_and(|value| value.len() == 1024 && value.is_ascii()));
    }

    #[tokio::test]
    async fn only_waiting_takes_time() {
        let state = RunState::default();
        assert_eq!(timed(&state, |facts| &mut facts.token_ms, std::future::ready(7)).await, 7);
        assert_eq!(state.facts().token_ms, None);
        timed(&state, |facts| &mut facts.claim_ms, std::pin::pin!(tokio::task::yield_now())).await;
        assert!(state.facts().claim_ms.is_some());
    }
}
