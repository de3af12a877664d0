//! Detached runs: an agent that works longer than an invocation may, takes over its execution's lease and reports
//! (docs/long-runs.md). These are the settings of such a run and the times that follow from them, in milliseconds since
//! 1970.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    domain::{finish_reason::FinishReason, platform::Platform},
    json::{fields::Fields, near_miss::near_misses},
};

/// The time for the first report after the hand-over of a run whose acknowledgement was lost, unless its trigger says
/// otherwise, in seconds.
const FIRST_REPORT_SECONDS: u32 = 300;
/// The heartbeats that an agent may miss: its lease lasts three times the interval that it promised.
const HEARTBEATS_PER_LEASE: i64 = 3;
/// The longest delay of a message in SQS.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub const LONGEST_DELAY: Duration = Duration::from_secs(900);
/// The time that an agent has to clean up after its run has ended, before its session is stopped.
pub const CLEAN_UP: Duration = Duration::from_secs(60);
/// The time after its deadline for which a run keeps its trigger's run lock, if nobody has ended it by then. The look
/// that ends it stops the agent's session first, and may come late.
const TURN_KEPT_AFTER_DEADLINE: Duration = LONGEST_DELAY;
/// The time for which a record is kept after its deadline, in seconds.
const KEPT_AFTER_DEADLINE: i64 = 24 * 60 * 60;

/// The member of an event's detail and of a trigger item that asks for a detached run.
pub(crate) const DETACHED: &str = "detached";
const MEMBERS: [&str; 2] = ["timeoutSeconds", "firstReportSeconds"];

/// The settings of a detached run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detached {
    /// The longest time from the claim to the agent's last report, in seconds.
    pub timeout_seconds: u32,
    /// The time for the first report if the agent's acknowledgement was lost, in seconds.
    pub first_report_seconds: u32,
}

/// The part of a detached run that its claim writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detachment {
    /// The SHA-256 hash of the token with which the agent reports.
    pub report_key: String,
    /// The time by which the run must have ended.
    pub deadline: i64,
    /// See [`Detached::first_report_seconds`].
    pub first_report_seconds: u32,
    /// The ways to stop short that count as completed. A report may come before anything else says which.
    pub accept_finish_reasons: Vec<FinishReason>,
}

impl Platform {
    /// Returns the longest detached run on the platform, in seconds: 28,200 on AgentCore, and a day elsewhere.
    /// AgentCore holds a background task for eight hours. It gets ten minutes less, so that the run ends before its
    /// session does.
    /// <https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/bedrock-agentcore-limits.html>
    pub fn longest_detached_seconds(self) -> u32 {
        match self {
            Self::AgentCore => 28_200,
            Self::Other => 86_400,
        }
    }
}

impl Detached {
    /// Reads the member `detached`. `timeoutSeconds` is required, from 1 to the platform's longest run.
    /// `firstReportSeconds` is from 1 to that time, and by default 300, or the whole time if that is less. Returns
    /// `None` if the member is absent or null. A value that is not understood, and a misspelt member, is a problem in
    /// `fields`, and `None`. Other unknown members are ignored.
    pub(crate) fn read(fields: &mut Fields<'_>, platform: Platform) -> Option<Self> {
        let is_object = fields.value(DETACHED)?.is_object();
        let members = fields.object(DETACHED);
        if !is_object {
            return None;
        }
        let path = crate::json::fields::member(&fields.path, DETACHED);
        let mut inner = Fields { problems: std::mem::take(&mut fields.problems), ..Fields::new(&path, &members) };
        let before = inner.problems.len();
        near_misses(&mut inner, &[&MEMBERS]);
        let [timeout, first] = MEMBERS;
        let longest = platform.longest_detached_seconds();
        if inner.value(timeout).is_none() {
            inner.problem(timeout, "is missing");
        }
        let mut within = |name: &str, most: u32| {
            let number = inner.count(name)?;
            if !(1..=most).contains(&number) {
                inner.problem(name, &format!("must be from 1 to {most}"));
                return None;
            }
            Some(number)
        };
        let timeout_seconds = within(timeout, longest);
        let most = timeout_seconds.unwrap_or(longest);
        let first_report_seconds = within(first, most);
        let is_usable = inner.problems.len() == before;
        fields.problems = inner.problems;
        timeout_seconds.filter(|_| is_usable).map(|timeout_seconds| Self {
            timeout_seconds,
            first_report_seconds: first_report_seconds.unwrap_or(FIRST_REPORT_SECONDS).min(timeout_seconds),
        })
    }

    /// Returns the member as [`Detached::read`] reads it.
    pub(crate) fn to_value(self) -> Value {
        json!({"timeoutSeconds": self.timeout_seconds, "firstReportSeconds": self.first_report_seconds})
    }

    /// Returns what the claim of a run at `now` writes: the report key, the deadline `timeoutSeconds` after `now`, and
    /// the time for the first report. The ways to stop short that are accepted are left to the caller.
    pub fn detachment(self, report_key: String, now: i64) -> Detachment {
        let deadline = now.saturating_add(millis(self.timeout_seconds));
        let first_report_seconds = self.first_report_seconds;
        Detachment { report_key, deadline, first_report_seconds, accept_finish_reasons: Vec::new() }
    }

    /// Returns the ttl of what is kept beside the record of a run that is claimed at `now` or was before, in seconds
    /// since 1970: `ttl`, or at least a day after the deadline.
    pub(crate) fn ttl(self, ttl: i64, now: i64) -> i64 {
        self.detachment(String::new(), now).ttl(ttl)
    }

    /// Returns the delay of the look that is sent before the call: the time for the first report, but at most SQS's
    /// longest delay.
    pub fn first_look(self) -> Duration {
        Duration::from_secs(self.first_report_seconds.into()).min(LONGEST_DELAY)
    }
}

/// Returns the ttl of what must be there until any run that starts at `now` has ended, in seconds since 1970: `ttl`, or
/// a day after the last moment of the longest detached run on any platform, if that is later.
pub(crate) fn ttl_of_longest(ttl: i64, now: i64) -> i64 {
    ttl.max((now / 1000).saturating_add(i64::from(Platform::Other.longest_detached_seconds()) + KEPT_AFTER_DEADLINE))
}

impl Detachment {
    /// Returns true if the agent may be called `wait` after `now`, in milliseconds since 1970: the deadline is not over
    /// by then. An agent that is called later could report nothing in time.
    pub fn may_call_after(&self, wait: Duration, now: i64) -> bool {
        now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)) < self.deadline
    }

    /// Returns the time until which the run keeps its trigger's run lock, unless it ends before, in milliseconds since
    /// 1970: a quarter of an hour after the deadline. At the deadline itself the agent may still be at work.
    pub fn turn_until(&self) -> i64 {
        self.deadline.saturating_add(i64::try_from(TURN_KEPT_AFTER_DEADLINE.as_millis()).unwrap_or(0))
    }

    /// Returns the ttl of a record, in seconds since 1970: `ttl`, or a day after the deadline if that is later.
    pub fn ttl(&self, ttl: i64) -> i64 {
        ttl.max((self.deadline / 1000).saturating_add(KEPT_AFTER_DEADLINE))
    }
}

/// Returns seconds in milliseconds.
fn millis(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}

/// Returns the end of the lease of an agent that was heard at `heard`: three of its heartbeats later, but at most the
/// deadline. A heartbeat that was never promised is never demanded: the lease then lasts until the deadline.
pub fn lease_after(heard: i64, heartbeat_seconds: Option<u32>, deadline: i64) -> i64 {
    heartbeat_seconds.map_or(deadline, |seconds| {
        heard.saturating_add(HEARTBEATS_PER_LEASE.saturating_mul(millis(seconds))).min(deadline)
    })
}

/// Returns the end of the lease of an agent whose acknowledgement was lost: `first_report_seconds` after `now`, but at
/// most the deadline. An agent that has reported before owes no further report: without `first_report_seconds` the
/// lease ends at the deadline.
pub fn lease_of_unacknowledged(now: i64, first_report_seconds: Option<u32>, deadline: i64) -> i64 {
    first_report_seconds.map_or(deadline, |seconds| now.saturating_add(millis(seconds)).min(deadline))
}

/// Returns the delay of the next look at a lease that counts as over after `over_at`: the next whole second after the
/// time that is left, at least one second, and at most SQS's longest delay.
pub fn look_delay(over_at: i64, now: i64) -> Duration {
    let left = u64::try_from(over_at.saturating_sub(now)).unwrap_or_default();
    // A whole second, because SQS knows no parts of one, and the next one, because a lease lives to its last moment.
    Duration::from_secs(left / 1000 + 1).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value, platform: Platform) -> (Option<Detached>, Vec<String>) {
        let detail = json!({"detached": value});
        let mut fields = Fields::new("$", detail.as_object().unwrap());
        let read = Detached::read(&mut fields, platform);
        (read, fields.problems)
    }

    #[test]
    fn the_settings_have_bounds() {
        let settings = |timeout_seconds, first_report_seconds| Detached { timeout_seconds, first_report_seconds };
        for (value, platform, expected) in [
            (json!({"timeoutSeconds": 14_400}), Platform::AgentCore, settings(14_400, 300)),
            (json!({"timeoutSeconds": 100}), Platform::Other, settings(100, 100)),
            (json!({"timeoutSeconds": "28200", "firstReportSeconds": 7}), Platform::AgentCore, settings(28_200, 7)),
            (json!({"timeoutSeconds": 86_400, "firstReportSeconds": null}), Platform::Other, settings(86_400, 300)),
        ] {
            assert_eq!(read(&value, platform), (Some(expected), vec![]));
            assert_eq!(read(&expected.to_value(), platform), (Some(expected), vec![]));
        }
        assert_eq!(read(&Value::Null, Platform::Other), (None, vec![]));
        for (value, problem) in [
            (json!(true), "$.detached: must be an object, not a boolean"),
            (json!({}), "$.detached.timeoutSeconds: is missing"),
            (json!({"timeoutSeconds": 28_201}), "$.detached.timeoutSeconds: must be from 1 to 28200"),
            (json!({"timeoutSeconds": 0}), "$.detached.timeoutSeconds: must be from 1 to 28200"),
            (json!({"timeoutSeconds": "long"}), "$.detached.timeoutSeconds: must be a whole number"),
            (
                json!({"timeoutSeconds": 60, "firstReportSeconds": 61}),
                "$.detached.firstReportSeconds: must be from 1 to 60",
            ),
        ] {
            let (found, problems) = read(&value, Platform::AgentCore);
            assert_eq!(found, None, "{value}");
            assert!(problems.iter().any(|found| found == problem), "{value}: {problems:?}");
        }
    }

    #[test]
    fn no_lease_outlasts_the_deadline() {
        for (heartbeat, deadline, expected) in [
            (None, 900_000, 900_000),
            (Some(120), 900_000, 360_000),
            (Some(120), 300_000, 300_000),
            (Some(u32::MAX), i64::MAX, 3 * 1000 * i64::from(u32::MAX)),
        ] {
            assert_eq!(lease_after(0, heartbeat, deadline), expected);
        }
        assert_eq!(lease_of_unacknowledged(1_000, Some(300), 900_000), 301_000);
        assert_eq!(lease_of_unacknowledged(1_000, Some(300), 200_000), 200_000);
        assert_eq!(lease_of_unacknowledged(1_000, None, 900_000), 900_000);
    }

    #[test]
    fn a_look_comes_once_the_lease_is_over_or_after_the_longest_delay() {
        for (over_at, expected) in [(-5, 1), (0, 1), (999, 1), (1_000, 2), (899_999, 900), (86_400_000, 900)] {
            assert_eq!(look_delay(over_at, 0).as_secs(), expected, "{over_at}");
        }
    }

    #[test]
    fn no_agent_is_called_once_the_deadline_is_over() {
        let detached = Detached { timeout_seconds: 60, first_report_seconds: 60 };
        let detachment = detached.detachment("key".to_owned(), 5_000);
        for (wait, now, may_call) in
            [(0, 64_999, true), (0, 65_000, false), (1, 63_999, true), (1, 64_000, false), (u64::MAX, 0, false)]
        {
            assert_eq!(detachment.may_call_after(Duration::from_secs(wait), now), may_call, "{wait} s after {now}");
        }
    }

    #[test]
    fn a_turn_outlasts_the_deadline_by_the_longest_delay_of_a_look() {
        let detached = Detached { timeout_seconds: 60, first_report_seconds: 60 };
        assert_eq!(detached.detachment("key".to_owned(), 5_000).turn_until(), 965_000);
    }

    #[test]
    fn a_record_outlives_its_deadline_by_a_day() {
        let detached = Detached { timeout_seconds: 86_400, first_report_seconds: 300 };
        let detachment = detached.detachment("key".to_owned(), 0);
        assert_eq!(
            (detachment.deadline, detachment.ttl(86_400), detachment.ttl(999_999)),
            (86_400_000, 172_800, 999_999)
        );
        assert_eq!((detached.ttl(86_400, 5_000), detached.ttl(999_999, 5_000)), (172_805, 999_999));
        assert_eq!((ttl_of_longest(86_400, 5_000), ttl_of_longest(999_999, 5_000)), (172_805, 999_999));
    }
}
