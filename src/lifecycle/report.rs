//! Applies the report of a detached run's agent to its row: the row is read by its key, the token is compared, and only
//! then is anything written. A refused conditional write is billed, and must be no lever for strangers.

use crate::{
    clock::Clock,
    domain::{
        agent_report::AgentReport,
        ending::Ending,
        execution::{ExecutionRef, MAX_SWAPS, Row},
        report::{ReportAnswer, ReportDecision, decide_report},
        trigger_snapshot::TriggerKnowledge,
    },
    json::{lenient, surrogate},
    lifecycle::{
        close::{CloseLimits, FinalResult, close},
        looks::{Looks, end_later},
    },
    redact::redact,
    store::{Store, Write, endings::EndingWrite, error::StoreError, table::Table},
};

/// A report that was applied.
#[derive(Debug, Clone)]
pub struct AppliedReport {
    /// The answer for the agent.
    pub answer: ReportAnswer,
    /// The ending, if this report has ended the run now and no look will count it, and the row before it.
    pub uncounted: Option<(Box<Ending>, Box<Row>)>,
}

impl From<ReportAnswer> for AppliedReport {
    /// Returns the answer for a report that did not end the run.
    fn from(answer: ReportAnswer) -> Self {
        Self { answer, uncounted: None }
    }
}

/// Applies a report to its execution. `token` is the one that came with it. The row is read first, and nothing is
/// written for a token that is not its own. An end is written with the trigger's health, its tokens and the run lock,
/// as every end is. Before that a look is sent that counts the end and stops the agent's session a minute later. If
/// reports of another end come after the run has ended, only the status that the first of them names is kept. The words
/// for a failure are masked by the kept input before they are stored.
///
/// # Errors
/// Returns an error if DynamoDB gives no result or the row keeps changing. The report may have been applied. The agent
/// must try again.
pub async fn apply_report<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    token: &str,
    report: &AgentReport,
    limits: CloseLimits<'_>,
) -> Result<AppliedReport, StoreError> {
    let AgentReport { trigger_id, execution_id, .. } = report;
    let mut row = store.execution(trigger_id, execution_id).await?;
    for _ in 0..=MAX_SWAPS {
        let now = store.clock.now_millis();
        let decision = decide_report(row.as_ref(), token, report, now);
        let Some(seen) = row.take() else { return Ok(ReportAnswer::Unknown.into()) };
        let user_id = seen.user_id.clone().unwrap_or_default();
        let execution = ExecutionRef { user_id: &user_id, trigger_id, execution_id };
        let cancel = seen.cancel_requested == Some(true);
        let write = match decision {
            ReportDecision::Unknown => return Ok(ReportAnswer::Unknown.into()),
            ReportDecision::Same => return Ok(ReportAnswer::Ended.into()),
            ReportDecision::Heard => {
                // Before the hand-over the lease is the invocation's.
                let lease_until = seen.lease_until.filter(|_| seen.detached_at.is_some());
                return Ok(ReportAnswer::Noted { cancel, lease_until }.into());
            }
            ReportDecision::Late(is_kept) => {
                if is_kept {
                    store.keep_late_report(execution, &seen, report).await?;
                }
                return Ok(ReportAnswer::Late.into());
            }
            ReportDecision::Note(lease_until) => {
                let write = store.note_report(execution, &seen, report, lease_until, now).await?;
                if matches!(write, Write::Done) {
                    return Ok(ReportAnswer::Noted { cancel, lease_until }.into());
                }
                write
            }
            ReportDecision::End(mut ending) => {
                mask(store, execution, token, &mut ending).await?;
                let write = EndingWrite::Reported { seen: &seen, ending: &ending };
                let result = FinalResult::reported(&ending, &seen);
                let trigger = TriggerKnowledge::Unread;
                let is_counted = end_later(&store.clock, looks, execution, &seen, &ending.completed_at).await;
                let write = close(store, execution, &trigger, result, write, now, limits).await?;
                if matches!(write, Write::Done) {
                    let uncounted = (!is_counted).then(|| (ending, Box::new(seen)));
                    return Ok(AppliedReport { answer: ReportAnswer::Ended, uncounted });
                }
                write
            }
        };
        match write {
            Write::Done => {}
            Write::Refused(found) => row = found,
        }
    }
    Err(StoreError::Contended)
}

/// Masks the token and every text of the kept input's prompt and values in the agent's words for its failure, and the
/// token alone in its output. Without a readable input only the token is masked.
///
/// # Errors
/// Returns an error if the input cannot be read.
async fn mask<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    token: &str,
    ending: &mut Ending,
) -> Result<(), StoreError> {
    if let Some(output) = &mut ending.output
        && output.text.contains(token)
    {
        output.text = redact(&output.text, &[token]);
    }
    let Some(said) = ending.failure.as_mut().and_then(|failure| failure.agent_said.as_mut()) else { return Ok(()) };
    let input = store.input_text(execution.trigger_id, execution.execution_id).await?;
    let input = input.and_then(|text| lenient::parse(&text).ok()).unwrap_or_default();
    let mut private = vec![token.to_owned()];
    for name in ["prompt", "input"] {
        collect_texts(&input[name], &mut private);
    }
    let private: Vec<&str> = private.iter().map(String::as_str).collect();
    *said = redact(said, &private);
    Ok(())
}

/// Appends every text within a value, at any depth. The names of members are left out.
fn collect_texts(value: &serde_json::Value, texts: &mut Vec<String>) {
    use serde_json::Value;
    match value {
        Value::String(text) => texts.push(surrogate::shown(text).into_owned()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| collect_texts(field, texts)),
        _ => {}
    }
}
