//! A look: the message by which a detached run is looked at later. It goes to the settle queue and comes back after its
//! delay. What it does then is decided by the run's row. The tests below contain the decision as a table.

use serde::{Deserialize, Serialize};

use crate::domain::execution::{DetachedState, Lease, Row, Status};

/// The purpose of a look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Find out whether the agent's lease is over.
    #[default]
    Timer,
    /// End the run, because somebody asked for its end and the agent had time to stop.
    Cancel,
    /// Do what is left to do after the run's end: count it, and stop the agent's session.
    End,
}

/// A look at an execution. It names an attempt by its report key, so that a look of an earlier attempt, or one that
/// somebody forged, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// The trigger.
    pub trigger_id: String,
    /// The execution.
    pub execution_id: String,
    /// The report key of the attempt.
    pub report_key: String,
    /// The purpose.
    #[serde(default)]
    pub purpose: Purpose,
    /// The number of looks in a row that failed before this one.
    #[serde(default)]
    pub tries: u32,
    /// The time of the end that an [`Purpose::End`] counts, as its record has it. The look is sent before that end is
    /// written. If another end was written instead, its own look counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_end_at: Option<String>,
}

/// The message that carries a look.
#[derive(Serialize, Deserialize)]
struct Message<L> {
    #[serde(rename = "_look")]
    look: L,
}

impl Look {
    /// Returns the first look at the attempt of `report_key`, for `purpose`. It counts no end.
    pub fn new(trigger_id: &str, execution_id: &str, report_key: String, purpose: Purpose) -> Self {
        let (trigger_id, execution_id) = (trigger_id.to_owned(), execution_id.to_owned());
        Self { trigger_id, execution_id, report_key, purpose, tries: 0, counts_end_at: None }
    }

    /// Returns the look as the text of a message: a JSON object with the look under `_look`.
    pub fn to_message(&self) -> String {
        // A map of texts can always be written.
        serde_json::to_string(&Message { look: self }).unwrap_or_default()
    }

    /// Reads the text of a message. Returns `None` if it is no look, or one that is not understood.
    pub fn read(message: &str) -> Option<Self> {
        // Most messages are no looks, and are not parsed twice.
        if !message.contains("\"_look\"") {
            return None;
        }
        serde_json::from_str(message).ok().map(|Message { look }| look)
    }
}

/// The action of a look at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAction {
    /// Nothing is left to do.
    Drop,
    /// The run has ended: stop the agent's session, and count the end if this is true.
    AfterEnd(bool),
    /// Look again when the lease that ends at this time may be over.
    Again(i64),
    /// The same. Somebody asked for the run's end, so send the look that ends it first: nobody knows whether that was
    /// sent.
    AgainAndCancel(i64),
    /// Somebody asked for the run's end, and the agent had its time. Write `cancelled`.
    Cancel,
    /// The agent's lease is over. Write `ReportOverdue`.
    Overdue,
    /// The attempt died. Let the lease pass to the agent.
    HandOver,
}

/// Decides what a look does at `now`, in milliseconds since 1970. A look of another attempt, and one at no row or an
/// expired one, is dropped.
///
/// - The run has ended: an `End` look leads to `AfterEnd`, which counts the end if the look was sent for this end. If a
///   further attempt may come, the look is dropped, and so is any other look.
/// - It is running: an `End` look is dropped.
/// - A `Cancel` look ends a run whose end was requested. If an invocation still has the lease, it comes again. Without
///   a request it is dropped.
/// - A `Timer` look comes again while a lease lasts, and if the end of an agent's run was requested, a `Cancel` look is
///   sent too. Once the lease is over, it cancels the run if that was requested, and otherwise ends an agent's run as
///   overdue, and hands over that of a dead attempt.
///
/// The decision holds for this row only.
pub fn decide_look(row: Option<&Row>, look: &Look, now: i64, lease: Lease) -> LookAction {
    let row = row.filter(|row| !row.is_expired(now) && row.report_key.as_ref() == Some(&look.report_key));
    let Some(row) = row else { return LookAction::Drop };
    let is_cancelled = row.cancel_requested == Some(true);
    if row.status != Status::Running {
        return match look.purpose {
            // A next attempt may work in the session of one that failed retryably.
            Purpose::End if !row.retryable => {
                LookAction::AfterEnd(look.counts_end_at.is_some() && look.counts_end_at == row.completed_at)
            }
            Purpose::End | Purpose::Timer | Purpose::Cancel => LookAction::Drop,
        };
    }
    match (row.detached_state(now, lease), look.purpose) {
        // The end was not written. The one that will be has its own look.
        (_, Purpose::End) => LookAction::Drop,
        (Some(_), Purpose::Cancel) if is_cancelled => LookAction::Cancel,
        // The invocation may leave the run to its agent before it sees the request.
        (None, Purpose::Cancel) if is_cancelled => LookAction::Again(row.lease_until.unwrap_or(now)),
        (_, Purpose::Cancel) => LookAction::Drop,
        (Some(DetachedState::Overdue | DetachedState::Unacknowledged), Purpose::Timer) if is_cancelled => {
            LookAction::Cancel
        }
        (Some(DetachedState::Overdue), Purpose::Timer) => LookAction::Overdue,
        (Some(DetachedState::Unacknowledged), Purpose::Timer) => LookAction::HandOver,
        (Some(DetachedState::AtWork), Purpose::Timer) if is_cancelled => {
            LookAction::AgainAndCancel(row.lease_until.unwrap_or(now))
        }
        (Some(DetachedState::AtWork) | None, Purpose::Timer) => LookAction::Again(row.lease_until.unwrap_or(now)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_000_000_000;
    const LEASE: Lease = Lease(Duration::from_secs(30));
    const ENDED: &str = "2026-01-31T07:00:00.000Z";

    #[test]
    fn what_a_look_does() {
        let row = |status, lease_until| Row {
            status,
            report_key: Some("key".into()),
            lease_until: Some(lease_until),
            ..Row::default()
        };
        let (alive, over) = (NOW, NOW - 5_001);
        let called = |until| row(Status::Running, until);
        let left = |until| Row { detached_at: Some("then".into()), ..called(until) };
        let cancelled = |row: Row| Row { cancel_requested: Some(true), ..row };
        let ended = row(Status::Completed, over);
        let ended_at = |at: &str| Row { completed_at: Some(at.into()), ..ended.clone() };
        use LookAction::{AfterEnd, Again, AgainAndCancel, Cancel, Drop, HandOver, Overdue};
        for (name, row, timer, cancel, end) in [
            ("the invocation's", called(alive), Again(alive), Drop, Drop),
            ("the invocation's, cancel asked", cancelled(called(alive)), Again(alive), Again(alive), Drop),
            ("unacknowledged", called(over), HandOver, Drop, Drop),
            ("unacknowledged, cancel asked", cancelled(called(over)), Cancel, Cancel, Drop),
            ("the agent's", left(alive), Again(alive), Drop, Drop),
            ("the agent's, cancel asked", cancelled(left(alive)), AgainAndCancel(alive), Cancel, Drop),
            ("silent", left(over), Overdue, Drop, Drop),
            ("silent, cancel asked", cancelled(left(over)), Cancel, Cancel, Drop),
            ("ended", ended.clone(), Drop, Drop, AfterEnd(false)),
            ("ended then", ended_at(ENDED), Drop, Drop, AfterEnd(true)),
            ("ended at another time", ended_at("2026-01-31T07:00:00.001Z"), Drop, Drop, AfterEnd(false)),
            ("to be retried", Row { status: Status::Failed, retryable: true, ..ended.clone() }, Drop, Drop, Drop),
            ("expired", Row { ttl: Some(0), ..left(over) }, Drop, Drop, Drop),
            ("of another attempt", Row { report_key: Some("other".into()), ..left(over) }, Drop, Drop, Drop),
            ("of no detached run", Row { report_key: None, ..called(over) }, Drop, Drop, Drop),
        ] {
            for (purpose, expected) in [(Purpose::Timer, timer), (Purpose::Cancel, cancel), (Purpose::End, end)] {
                let look = Look { counts_end_at: Some(ENDED.into()), ..Look::new("t", "e", "key".into(), purpose) };
                assert_eq!(decide_look(Some(&row), &look, NOW, LEASE), expected, "{name}, {purpose:?}");
            }
        }
    }

    #[test]
    fn a_look_reads_back_as_it_was_sent() {
        for purpose in [Purpose::Timer, Purpose::Cancel, Purpose::End] {
            let counts_end_at = (purpose == Purpose::End).then(|| ENDED.to_owned());
            let look = Look { tries: 2, counts_end_at, ..Look::new("t\"1", "e", "k".to_owned(), purpose) };
            assert_eq!(Look::read(&look.to_message()), Some(look));
        }
        let bare = r#"{"_look":{"triggerId":"t","executionId":"e","reportKey":"k"}}"#;
        assert_eq!(Look::read(bare).map(|look| (look.purpose, look.tries)), Some((Purpose::Timer, 0)));
        for other in ["", "{}", r#"{"detail":"\"_look\""}"#, r#"{"_look":{"triggerId":"t"}}"#, r#"{"look":{}}"#] {
            assert_eq!(Look::read(other), None, "{other}");
        }
    }
}
