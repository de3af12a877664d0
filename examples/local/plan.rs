//! The events to send, and their expected results.

use std::fs;
use std::path::{Path, PathBuf};

use agent_trigger::store::execution_item as record;
use serde_json::Value;
use standins::{Outcome, Stack};

use crate::options::Options;

/// The expected result of an event, beyond what is expected of every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Completed {
        /// Whether the agent's protocol reports tokens.
        has_usage: bool,
    },
    AgentFailed,
    Duplicate,
    /// Any result that the function promises.
    Anything,
}

/// The events to send, in order.
pub(crate) struct Plan(pub(crate) Vec<Planned>);

/// An event with its expected result.
pub(crate) struct Planned {
    /// The event file's path.
    pub(crate) name: String,
    /// The event file's name.
    pub(crate) file: String,
    pub(crate) payload: Vec<u8>,
    /// The agent that the event names.
    agent: Option<String>,
    expected: Expected,
}

/// Reads all events before anything is started.
pub(crate) fn plan(options: &Options, root: &Path) -> Result<Plan, String> {
    let of_repo = |name: &str| root.join("events").join(name);
    let (scheduled, fails) = (of_repo("scheduled.json"), of_repo("agent-fails.json"));
    let named: Vec<(PathBuf, Expected)> = if !options.events.is_empty() {
        options.events.iter().map(|path| (path.clone(), Expected::Anything)).collect()
    } else if options.agent_url.is_some() {
        // A real agent cannot be told to fail, so the event that expects a failure is left out.
        vec![(scheduled.clone(), Expected::Completed { has_usage: false }), (scheduled, Expected::Duplicate)]
    } else {
        let has_usage = !matches!(options.protocol.as_deref(), Some("a2a" | "a2a-1.0" | "mcp"));
        let completed = Expected::Completed { has_usage };
        vec![(scheduled.clone(), completed), (fails, Expected::AgentFailed), (scheduled, Expected::Duplicate)]
    };
    let read = |(path, expected): (PathBuf, Expected)| {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let file = path.file_name().map_or_else(|| name.clone(), |file| file.to_string_lossy().into_owned());
        let payload = fs::read(&path).map_err(|e| format!("cannot read the event {name}: {e}"))?;
        let event: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let agent = event["detail"]["agentId"].as_str().map(str::to_owned);
        Ok(Planned { name, file, payload, agent, expected })
    };
    named.into_iter().map(read).collect::<Result<_, String>>().map(Plan)
}

impl Plan {
    /// Returns the agents that the events name.
    pub(crate) fn agents(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|planned| planned.agent.as_deref())
    }
}

impl Planned {
    /// Returns the differences between the expected result and the outcome, the record and the number of agent calls.
    pub(crate) fn differs(&self, stack: &Stack, outcome: &Outcome, calls: Option<usize>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                problems.push(format!("{}: {what}", self.name));
            }
        };
        let event: Value = serde_json::from_slice(&self.payload).unwrap_or_default();
        let rows = event["detail"]["triggerId"].as_str().map(|id| stack.dynamodb.executions(id)).unwrap_or_default();
        let row = rows.last().cloned().unwrap_or_default();
        match self.expected {
            Expected::Anything => {}
            Expected::Completed { has_usage } => {
                must(outcome.is_success(), "did not succeed");
                must(row[record::STATUS] == "completed", "its record is not completed");
                must(row[record::OUTPUT].is_string(), "its record has no answer");
                must(
                    !has_usage || row[record::USAGE][record::INPUT_TOKENS].is_number(),
                    "its record has no token usage",
                );
                must(calls.is_none_or(|n| n == 1), "the agent was not called exactly once");
            }
            Expected::AgentFailed => {
                must(outcome.error_type() == "AgentFailed", "Lambda did not get AgentFailed");
                let is_recorded = row[record::STATUS] == "failed" && row[record::ERROR_TYPE] == "AgentFailed";
                must(is_recorded, "its record is not failed, AgentFailed");
                must(calls == Some(1), "the agent was not called exactly once");
            }
            Expected::Duplicate => {
                must(outcome.is_success() && outcome.body()["duplicate"] == true, "was not reported as a duplicate");
                must(rows.len() == 1, "left a record of its own");
                must(calls.is_none_or(|n| n == 0), "called the agent again");
            }
        }
        problems
    }
}
