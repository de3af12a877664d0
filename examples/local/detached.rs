//! Detached runs with time compressed: the stand-in agents acknowledge at once, and here they work on, report over the bus of
//! reports, die in silence, or stop when they are told to. The settle queue delivers its looks in real time.

use std::collections::HashSet;
use std::time::Duration;

use agent_trigger::store::execution_item as record;
use serde_json::{Value, json};
use standins::{Invocation, Script, Stack, bus_event, own_event};

use crate::report::executions_of;

/// The interval at which an agent reports, in seconds. It stands for the minutes of a real one.
const HEARTBEAT_SECONDS: u32 = 1;
/// The reports of an agent before its last one.
const HEARTBEATS: u32 = 4;
/// The prompts by which the stand-in agents know what to do.
const WORKS: &str = "Please take hours";
const DIES: &str = "Please die in silence";
const STOPS: &str = "Please work until you are told to stop";

/// The answer of an agent that has worked for hours.
const ANSWER: &str = "All 4,210 letters of the archive are read: 12 of them need an answer.";

/// Sets the scripts of the agents, the timer, and where reports go.
pub(crate) fn prepare(stack: &Stack) {
    for prompt in [WORKS, DIES, STOPS] {
        stack.agent.on_prompt(prompt, Script::acknowledges(Some(HEARTBEAT_SECONDS)));
    }
    let deliver = stack.lambda.sender();
    stack.sqs.deliver_to(Duration::from_secs(1), deliver);
}

/// Returns true if the agent of an execution works on, or has died and nobody knows yet.
pub(crate) fn is_any_at_work(stack: &Stack) -> bool {
    executions_of(stack).iter().any(|row| row[record::STATUS] == "running" && row[record::DETACHED_AT].is_string())
}

/// The agents that work on after their invocations.
#[derive(Default)]
pub(crate) struct Agents {
    at_work: Vec<AtWork>,
    known: HashSet<String>,
}

/// One of them.
struct AtWork {
    callback: Value,
    prompt: String,
    next: tokio::time::Instant,
    reports: u32,
    /// The place of its last report among the accepted events.
    last: Option<usize>,
}

impl Agents {
    /// Lets the agents go on: starts those that were called, and sends the reports that are due.
    pub(crate) fn update(&mut self, stack: &Stack) {
        let interval = Duration::from_secs(HEARTBEAT_SECONDS.into());
        for call in stack.agent.calls() {
            let Some(callback) = call.callback() else { continue };
            if self.known.insert(callback["token"].to_string()) {
                let prompt = call.field("prompt").to_owned();
                let next = tokio::time::Instant::now() + interval;
                self.at_work.push(AtWork { callback: callback.clone(), prompt, next, reports: 0, last: None });
            }
        }
        let rows = executions_of(stack);
        self.at_work.retain_mut(|agent| {
            let row = rows.iter().find(|row| row[record::EXECUTION_ID] == agent.callback["executionId"]);
            let is_left = row.is_some_and(|row| row[record::DETACHED_AT].is_string());
            if !is_left || agent.next > tokio::time::Instant::now() {
                return true;
            }
            agent.next += interval;
            agent.goes_on(stack)
        });
    }
}

impl AtWork {
    /// Makes the next step. Returns false if it was the last.
    fn goes_on(&mut self, stack: &Stack) -> bool {
        self.reports += 1;
        if self.prompt.contains(DIES) {
            return false;
        }
        if self.prompt.contains(STOPS) && self.is_told_to_stop(stack) {
            self.report(stack, &json!({"status": "failed", "error": "stopped as requested"}));
            return false;
        }
        if self.prompt.contains(WORKS) && self.reports > HEARTBEATS {
            let usage = json!({"inputTokens": 48_213, "outputTokens": 1_042});
            self.report(stack, &json!({"status": "completed", "output": ANSWER, "usage": usage}));
            return false;
        }
        if self.prompt.contains(STOPS) && self.reports == HEARTBEATS {
            let ids = json!({"triggerId": self.callback["triggerId"], "executionId": self.callback["executionId"]});
            stack.invoke_async(Invocation::event(&own_event("Cancel Execution", ids)));
        }
        self.report(stack, &json!({"status": "running"}));
        true
    }

    fn report(&mut self, stack: &Stack, members: &Value) {
        let mut detail = members.clone();
        for name in ["token", "triggerId", "executionId"] {
            detail[name] = self.callback[name].clone();
        }
        let event = bus_event("my.agent", "Agent Report", detail);
        self.last = Some(stack.lambda.accepted());
        stack.invoke_async(Invocation::event(&json!({"_from": "report-bus", "_event": event})));
    }

    /// Returns true if the answer to the last report asks for the end.
    fn is_told_to_stop(&self, stack: &Stack) -> bool {
        let invocations = stack.lambda.invocations();
        let answer = self.last.and_then(|at| invocations.get(at)?.outcome().cloned());
        answer.is_some_and(|outcome| outcome.body()["cancel"] == true)
    }
}
