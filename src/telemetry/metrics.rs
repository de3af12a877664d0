//! Metrics, told in CloudWatch's Embedded Metric Format: one JSON object a line of standard output, one for each invocation
//! and one for each execution that is settled.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Lambda passes on what a custom runtime writes as it is, in both log formats: it encodes no JSON a second time. In JSON
//! format it drops lines below the log level, takes a line that says no `level` or no RFC 3339 `timestamp` for INFO, and
//! adds the timestamp. So each line says both, and a level that passes.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
//!
//! By hand, with serde_json: 7 KB of the binary. `metrique` (0.1) would be 41 KB and at least 44 crates. It formats through
//! a `&mut`, so that invocations at the same time share it behind a lock, and each of its formatters has fixed dimensions,
//! while the specification wants a value for each. `metrics_cloudwatch_embedded` (0.10) would be 3 crates, but keeps one
//! registry for the process, which would mix such invocations, and one set of dimensions an object.

use std::{
    borrow::Cow,
    future::poll_fn,
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::FutureExt;
use serde::{Serialize, Serializer, ser::SerializeMap};
use tokio::time::Instant;

use crate::{
    clock::{Rfc3339, millis_since, now_millis},
    config::Config,
    domain::answer::{Progress, Usage},
    domain::execution::{Settlement, Status},
    domain::failure::{ErrorType, Failure},
    domain::trace::Trace,
    store::record::{Ending, SkipReason},
};

const NAMESPACE: &str = "AgentTrigger";

/// Name, unit, and what a line has of it.
type Metric = (&'static str, &'static str, fn(&Line<'_>) -> Option<u64>);

/// The names never change: alarms and dashboards hold them.
const METRICS: [Metric; 16] = [
    ("Executions", "Count", |line| Some(line.measured.executions())),
    ("Completed", "Count", |line| Some(line.measured.completed.get())),
    ("Failed", "Count", |line| Some(line.measured.failed.get())),
    ("Skipped", "Count", |line| Some(line.measured.skipped.get())),
    ("Cancelled", "Count", |line| Some(line.measured.cancelled.get())),
    ("Duplicates", "Count", |line| Some(line.measured.duplicates.get())),
    ("Overlaps", "Count", |line| Some(line.measured.overlaps.get())),
    ("HeartbeatFailures", "Count", |line| Some(line.measured.heartbeat_failures.get())),
    ("ColdStart", "Count", |line| line.is_cold_start.map(u64::from)),
    ("DurationMs", "Milliseconds", |line| line.measured.run.get()?.duration_ms),
    ("FirstEventMs", "Milliseconds", |line| line.measured.run.get()?.first_event_ms),
    ("TokenMs", "Milliseconds", |line| line.measured.token_ms.get().copied()),
    ("ClaimMs", "Milliseconds", |line| line.measured.claim_ms.get().copied()),
    ("InputTokens", "Count", |line| Some(line.measured.usage()?.input_tokens)),
    ("OutputTokens", "Count", |line| Some(line.measured.usage()?.output_tokens)),
    ("StreamBytes", "Bytes", |line| Some(line.measured.run.get()?.progress?.bytes)),
];

/// What is counted and timed of an invocation, where it happens.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    completed: Count,
    /// For good: what a later attempt may mend is none.
    failed: Count,
    skipped: Count,
    cancelled: Count,
    /// Deliveries that found their execution ended or at work.
    pub(crate) duplicates: Count,
    /// Executions that were found alive where two of a trigger must not be.
    pub(crate) overlaps: Count,
    pub(crate) heartbeat_failures: Count,
    pub(crate) claim_ms: OnceLock<u64>,
    /// Nothing if the token was at hand.
    pub(crate) token_ms: OnceLock<u64>,
    pub(crate) attempt: OnceLock<u32>,
    pub(crate) skip_reason: OnceLock<SkipReason>,
    /// What the invocation did instead of running a fire.
    pub(crate) instead: OnceLock<Instead>,
    run: OnceLock<Ran>,
}

/// What an invocation does that runs no fire.
#[derive(Debug)]
pub(crate) enum Instead {
    /// It handed an event on: what became of its subscriptions.
    Dispatched([(&'static str, usize); 6]),
    /// It settled executions, of which each has a line of its own.
    Settled,
}

#[derive(Debug)]
struct Ran {
    duration_ms: Option<u64>,
    first_event_ms: Option<u64>,
    progress: Option<Progress>,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Measured {
    /// An execution has ended for good, and its record says so.
    pub(crate) fn ended(&self, status: Status) {
        match status {
            Status::Completed => self.completed.one_more(),
            Status::Failed => self.failed.one_more(),
            Status::Skipped => self.skipped.one_more(),
            Status::Cancelled => self.cancelled.one_more(),
            Status::Running => {}
        }
    }

    /// What became of an execution that nobody works on; `created` is the status of one that had no record.
    pub(crate) fn settled(&self, settlement: Settlement, created: Status) {
        match settlement {
            Settlement::Create => self.ended(created),
            Settlement::Interrupt | Settlement::Finalise => self.ended(Status::Failed),
            Settlement::Cancel => self.ended(Status::Cancelled),
            Settlement::Alive | Settlement::Nothing => self.duplicates.one_more(),
        }
    }

    /// The invocation failed. An execution is counted by who records its end; these may leave no record.
    pub(crate) fn returned(&self, failure: &Failure) {
        let may_be_unrecorded = matches!(failure.error_type, ErrorType::InvalidEvent | ErrorType::InvalidTrigger);
        if may_be_unrecorded && self.failed.get() + self.duplicates.get() == 0 {
            self.ended(Status::Failed);
        }
    }

    /// An attempt ends so, whether or not that can be written down.
    pub(crate) fn ran(&self, ending: &Ending) {
        self.run.get_or_init(|| Ran {
            duration_ms: ending.duration_ms,
            first_event_ms: ending.first_event_ms,
            progress: ending.reported.map(|reported| reported.progress),
        });
    }

    fn executions(&self) -> u64 {
        [&self.completed, &self.failed, &self.skipped, &self.cancelled].into_iter().map(Count::get).sum()
    }

    fn usage(&self) -> Option<Usage> {
        self.run.get()?.progress?.usage
    }
}

/// Runs `future`; how long it had its caller wait goes into `millis`, unless something is there already.
pub(crate) fn timed<T>(
    millis: &OnceLock<u64>,
    mut future: impl Future<Output = T> + Unpin,
) -> impl Future<Output = T> + Unpin {
    let mut since = None;
    poll_fn(move |context| {
        let polled = future.poll_unpin(context);
        if polled.is_pending() {
            since.get_or_insert_with(Instant::now);
        } else if let Some(since) = since {
            millis.get_or_init(|| millis_since(since));
        }
        polled
    })
}

/// Whether nothing was asked of this process before.
pub(crate) fn is_cold_start() -> bool {
    static HAS_STARTED: AtomicBool = AtomicBool::new(false);
    !HAS_STARTED.swap(true, Ordering::Relaxed)
}

/// One metric object.
pub(crate) struct Line<'a> {
    pub(crate) config: &'a Config,
    pub(crate) measured: &'a Measured,
    pub(crate) request_id: &'a str,
    pub(crate) agent_id: Option<&'a str>,
    pub(crate) trigger_id: Option<&'a str>,
    pub(crate) execution_id: Option<&'a str>,
    pub(crate) trace: Option<&'a Trace>,
    pub(crate) failure: Option<&'a Failure>,
    /// `None` for what is no invocation.
    pub(crate) is_cold_start: Option<bool>,
}

impl Line<'_> {
    /// Prints it, in one write so that no other line can come between.
    pub(crate) fn print(&self) {
        // Longer than any that holds no long ids.
        let mut line = Vec::with_capacity(4096);
        if serde_json::to_writer(&mut line, self).is_ok() {
            line.push(b'\n');
            // There is nobody to tell.
            let _ = std::io::stdout().lock().write_all(&line);
        }
    }

    fn status(&self) -> &'static str {
        let Measured { completed, skipped, cancelled, duplicates, instead, .. } = self.measured;
        let is_told_again = duplicates.get() > 0 && self.failure.is_none_or(|failure| !failure.retryable);
        match (self.failure, instead.get()) {
            (Some(_), _) if !is_told_again => "failed",
            (None, Some(Instead::Dispatched(_))) => "dispatched",
            (None, Some(Instead::Settled)) => "settled",
            _ if completed.get() > 0 => "completed",
            _ if skipped.get() > 0 => "skipped",
            _ if cancelled.get() > 0 => "cancelled",
            _ => "duplicate",
        }
    }

    /// A level that passes Lambda's filter.
    fn level(&self) -> &'static str {
        let least = self.config.log_level.as_deref().unwrap_or_default();
        ["WARN", "ERROR", "FATAL"].into_iter().find(|level| least.eq_ignore_ascii_case(level)).unwrap_or("INFO")
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { config, measured, failure, .. } = *self;
        let now = now_millis();
        let agent = self.agent_id.and_then(dimension_value);
        let trigger = self.trigger_id.filter(|_| config.metrics_by_trigger).and_then(dimension_value);
        let dimensions: &[&[&str]] = match (&agent, &trigger) {
            (None, None) => &[&["service"]],
            (Some(_), None) => &[&["service"], &["service", "agent"]],
            (None, Some(_)) => &[&["service"], &["service", "trigger"]],
            (Some(_), Some(_)) => &[&["service"], &["service", "agent"], &["service", "trigger"]],
        };
        let directives = [
            Directive { namespace: NAMESPACE, dimensions, metrics: Definitions(self, None) },
            Directive {
                namespace: NAMESPACE,
                dimensions: &[&["service", "errorType"]],
                metrics: Definitions(self, Some("Failed")),
            },
        ];
        let is_by_type = failure.is_some() && measured.failed.get() > 0;
        let mut line = serializer.serialize_map(None)?;
        let cloud_watch_metrics = if is_by_type { &directives[..] } else { &directives[..1] };
        line.serialize_entry("_aws", &Metadata { timestamp: now, cloud_watch_metrics })?;
        for (name, _, value) in METRICS {
            if let Some(value) = value(self) {
                line.serialize_entry(name, &value)?;
            }
        }
        line.serialize_entry("timestamp", &Rfc3339(now))?;
        let is_skipped = measured.skip_reason.get().filter(|_| self.status() == "skipped");
        for (name, text) in [
            ("service", dimension_value(&config.function_name)),
            ("agent", agent),
            ("trigger", trigger),
            ("level", Some(self.level().into())),
            ("status", Some(self.status().into())),
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
        if let Some(attempt) = measured.attempt.get() {
            line.serialize_entry("attempt", attempt)?;
        }
        if let Some(Instead::Dispatched(counts)) = measured.instead.get() {
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

/// The metrics that a line has, or only this one.
struct Definitions<'a>(&'a Line<'a>, Option<&'static str>);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Serialize for Definitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(line, only) = *self;
        let metrics = METRICS.into_iter().filter(|(name, ..)| only.is_none_or(|only| only == *name));
        let metrics = metrics.filter(|(.., value)| value(line).is_some());
        serializer.collect_seq(metrics.map(|(name, unit, _)| Definition { name, unit }))
    }
}

/// `text` as the value of a dimension, for which CloudWatch takes up to 1024 characters of printable ASCII that are not
/// all blank: others are escaped, so that no two values of ordinary length become the same.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>
fn dimension_value(text: &str) -> Option<Cow<'_, str>> {
    const LONGEST: usize = 1024;
    let is_plain = |character: char| matches!(character, ' '..='~');
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
        let (at_once, later) = (OnceLock::new(), OnceLock::new());
        assert_eq!(timed(&at_once, std::future::ready(7)).await, 7);
        assert_eq!(at_once.get(), None);
        timed(&later, std::pin::pin!(tokio::task::yield_now())).await;
        assert!(later.get().is_some());
    }
}
