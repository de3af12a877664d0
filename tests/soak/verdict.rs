//! The promises that must hold for every fire in the end, whatever its faults were.

use std::time::Duration;

use serde_json::Value;
use standins::{AgentRequest, Outcome};

use crate::edits::{Edit, Kind};
use crate::plan::{Agent, Plan};

/// Everything that is known about a fire.
pub(crate) struct Fired {
    pub(crate) plan: Plan,
    /// The outcomes that Lambda got, by delivery and by attempt.
    pub(crate) told: Vec<Vec<Outcome>>,
    /// How long the longest of its invocations took.
    pub(crate) longest: Duration,
    /// True if a request to cancel came in time.
    pub(crate) was_cancelled: bool,
    /// The records at the time when Lambda was done with the fire.
    pub(crate) rows_then: Vec<Value>,
}

impl Fired {
    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.told.iter().flatten()
    }

    /// Returns everything that is wrong with a fire whose final records are `rows` and whose calls the agent saw as
    /// `calls`.
    pub(crate) fn problems(&self, rows: &[Value], calls: &[AgentRequest]) -> Vec<String> {
        if rows.is_empty() {
            let problem = "no record, though it was due".to_owned();
            return if self.may_have_no_record(calls) { Vec::new() } else { vec![problem] };
        }
        let [row] = rows else { return vec![format!("{} records", rows.len())] };
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let (status, error_type) = (text("status"), text("errorType"));
        check(["completed", "failed", "cancelled", "skipped"].contains(&status), format!("ends as {status}"));
        check(row["retryable"] != true, "is still retryable".to_owned());
        check((status == "failed") == row.get("errorType").is_some(), format!("{status} with error {error_type:?}"));
        check(self.rows_then == rows, format!("changed after its end: {:?}", self.rows_then));
        let attempts = row["attempt"].as_u64().unwrap_or_default();
        check((1..=3).contains(&attempts), format!("{attempts} attempts"));

        let accepted = calls.iter().filter(|call| self.accepts(call)).count();
        let most = if self.plan.rerun { attempts } else { 1 };
        check(accepted as u64 <= most, format!("{accepted} accepted calls in {attempts} attempts"));
        let completions = calls.iter().filter(|call| self.completes(call)).count();
        match status {
            "completed" => check(completions > 0, "says completed, which the agent never did".to_owned()),
            "cancelled" => check(self.was_cancelled, "cancelled by nobody".to_owned()),
            "skipped" => check(self.may_skip(text("skipReason")) && accepted == 0, "skipped for no reason".to_owned()),
            _ => check(self.explains(row, accepted), format!("{error_type} for no reason")),
        }
        for told in &self.told {
            for (index, outcome) in told.iter().enumerate() {
                let is_last = index + 1 == told.len() && self.told.len() == 1;
                check(agrees(outcome, row, is_last), format!("Lambda was told {outcome:?}"));
            }
        }
        problems
    }

    /// Returns true if the agent may have begun to work, which is every answer except a plain refusal.
    pub(crate) fn accepts(&self, call: &AgentRequest) -> bool {
        let is_refusal = matches!(self.plan.agent, Agent::Refuses | Agent::RefusesForEver) && call.status == 503;
        !(400..500).contains(&call.status) && !is_refusal
    }

    fn completes(&self, call: &AgentRequest) -> bool {
        matches!(self.plan.agent, Agent::Completes | Agent::Refuses)
            && call.status == 200
            && call.events_sent == self.plan.pieces()
    }

    /// Returns true if the fire may have no record, because its event was meant for nobody any more: no call was made,
    /// and Lambda was told so at last.
    fn may_have_no_record(&self, calls: &[AgentRequest]) -> bool {
        let is_unmet = self.plan.has_edit(&[Edit::Deleted, Edit::Unmatched]);
        let is_done = self.told.iter().any(|told| told.last().is_some_and(Outcome::is_success));
        self.plan.kind == Kind::Subscribed && is_unmet && is_done && calls.is_empty()
    }

    /// Returns true if what was done to the trigger explains a skip.
    fn may_skip(&self, reason: &str) -> bool {
        match reason {
            "Disabled" => self.plan.has_edit(&[Edit::Disabled]),
            "Deleted" if self.plan.kind.needs_item() => self.plan.has_edit(&[Edit::Deleted, Edit::Tombstoned]),
            "Deleted" => self.plan.has_edit(&[Edit::Tombstoned]),
            _ => false,
        }
    }

    /// Returns true if one of the fire's faults explains this failure.
    fn explains(&self, row: &Value, accepted: usize) -> bool {
        let error_type = row["errorType"].as_str().unwrap_or_default();
        let agent = self.plan.agent;
        let uncalled = accepted == 0 || self.plan.rerun;
        let died = |outcome: &Outcome| matches!(outcome, Outcome::Died | Outcome::TimedOut);
        let lost = |outcome: &Outcome| ["LeaseLost", "RecordStoreFailed"].contains(&outcome.error_type());
        match error_type {
            "AgentFailed" => agent == Agent::Fails,
            "AgentRejected" => agent == Agent::Rejects,
            "StreamInterrupted" => agent == Agent::Tears,
            "AgentUnavailable" => uncalled && matches!(agent, Agent::Refuses | Agent::RefusesForEver),
            // A run ends at its time less the margin, a tenth, whatever made it take so long.
            "DeadlineExceeded" => self.longest >= self.plan.timeout * 4 / 5,
            "AuthenticationFailed" => uncalled && self.outcomes().any(|told| told.error_type() == error_type),
            "RecordStoreFailed" => uncalled && self.outcomes().any(lost),
            "Interrupted" => self.outcomes().any(|told| died(told) || lost(told)),
            "InvalidTrigger" => accepted == 0 && self.plan.has_edit(&[Edit::MadeInvalid]),
            "Internal" => accepted == 0 && self.told.iter().any(|told| told.last().is_some_and(died)),
            _ => false,
        }
    }
}

/// Returns true if Lambda's outcome agrees with the record. The last outcome of a fire that was delivered once may be a
/// failure that settling made final.
fn agrees(told: &Outcome, row: &Value, is_last: bool) -> bool {
    let body = told.body();
    let is = |value: &Value| value.is_null() || *value == row["executionId"];
    match told {
        Outcome::Died | Outcome::TimedOut => true,
        Outcome::Success(_) if body["success"] != true || !is(&body["executionId"]) => false,
        // The event was meant for nobody, or its only trigger was skipped.
        Outcome::Success(_) if body["subscriptions"].is_number() => body["dispatched"] == 0,
        Outcome::Success(_) => match body["status"].as_str() {
            None => row["status"] == "completed" && body["requestId"] == row["requestId"],
            Some("running") => body["duplicate"] == true,
            Some("completed") => body["duplicate"] == true && row["status"] == "completed",
            Some(status) => ["cancelled", "skipped"].contains(&status) && row["status"] == status,
        },
        Outcome::FunctionError { error_type, .. } => {
            let is_same = row["errorType"] == *error_type && is(&body["executionId"]);
            match error_type.as_str() {
                // These say only that this attempt does not know the result.
                "LeaseLost" | "InProgress" | "RecordStoreFailed" => is(&body["executionId"]),
                _ if body["retryable"] == false => row["status"] == "failed" && is_same,
                _ => !is_last || is_same || row["status"] == "cancelled",
            }
        }
    }
}
