//! The faults of a fire, drawn at random and the same for the same seed.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use standins::runtime_api::scheduled_event;
use standins::{Fault, Framing, Invocation, Rule, Script, Step, TokenAnswer, bus_event};

use crate::edits::{Edit, Kind, source};

/// The text with which every prompt begins, so that tests can look for it where it must not be.
pub(crate) const PROMPT: &str = "soak-prompt";

/// How the agent answers a fire's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agent {
    Completes,
    /// It refuses some calls, then completes.
    Refuses,
    RefusesForEver,
    Rejects,
    /// It reports that it failed, by its status or in its answer.
    Fails,
    Tears,
    /// It sends, or is silent, until its client leaves.
    Endless,
}

/// One fire and its faults.
pub(crate) struct Plan {
    pub(crate) trigger_id: String,
    pub(crate) prompt: String,
    pub(crate) is_scheduled: bool,
    pub(crate) rerun: bool,
    pub(crate) timeout: Duration,
    pub(crate) agent: Agent,
    pub(crate) first_answers: Vec<Script>,
    pub(crate) answer: Script,
    /// The faults of DynamoDB, each with a name.
    pub(crate) store_faults: Vec<(&'static str, Rule)>,
    /// The time after which the process that runs the fire first dies.
    pub(crate) kill_after: Option<Duration>,
    /// The time after which the fire is delivered once more.
    pub(crate) duplicate_after: Option<Duration>,
    /// The time after which its cancellation is requested.
    pub(crate) cancel_after: Option<Duration>,
    pub(crate) kind: Kind,
    /// What is done to its trigger's item, each with its time.
    pub(crate) edits: Vec<(Duration, Edit)>,
    /// The event on the bus, which is one however often it is delivered.
    bus_event: Value,
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

impl Plan {
    /// Draws the plan of the fire with this number.
    pub(crate) fn draw(seed: u64, number: usize) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let rng = &mut rng;
        let trigger_id = format!("soak-{number:05}");
        let agent = match rng.u32(0..100) {
            0..60 => Agent::Completes,
            60..72 => Agent::Refuses,
            72..75 => Agent::RefusesForEver,
            75..80 => Agent::Rejects,
            80..88 => Agent::Fails,
            88..96 => Agent::Tears,
            _ => Agent::Endless,
        };
        let kind = Kind::draw(rng);
        let edits = Edit::draw(kind, rng);
        let refusals = if agent == Agent::Refuses { rng.usize(1..5) } else { 0 };
        Self {
            prompt: format!("{PROMPT} {trigger_id}"),
            is_scheduled: !chance(rng, 12),
            rerun: chance(rng, 20),
            // A run is not started with less than 5 s left.
            timeout: crate::scaled(if agent == Agent::Endless {
                millis(rng, 5500..6500)
            } else {
                Duration::from_secs(12)
            }),
            first_answers: (0..refusals).map(|_| refusal(rng)).collect(),
            answer: answer(agent, rng),
            store_faults: if chance(rng, 40) { store_faults(rng, &trigger_id) } else { Vec::new() },
            kill_after: chance(rng, 2).then(|| millis(rng, 0..600)),
            duplicate_after: chance(rng, 15).then(|| millis(rng, 0..2500)),
            cancel_after: chance(rng, 6).then(|| millis(rng, 0..1500)),
            bus_event: bus_event(&source(&trigger_id), "Soaked", json!({})),
            kind,
            edits,
            agent,
            trigger_id,
        }
    }

    /// Returns its event in a Lambda request of its own.
    pub(crate) fn invocation(&self) -> Invocation {
        if self.kind == Kind::Subscribed {
            return Invocation::event(&self.bus_event).timeout(self.timeout);
        }
        let time = self.is_scheduled.then_some("2026-01-01T00:00:00Z");
        let mut event = scheduled_event(&self.trigger_id, &self.prompt, time);
        if self.rerun {
            event["detail"]["onInterrupted"] = json!("rerun");
        }
        if self.kind == Kind::Stored {
            event["detail"] = json!({"triggerId": self.trigger_id, "userId": "user-1", "stored": true,
                "scheduledTime": event["detail"]["scheduledTime"]});
        }
        Invocation::event(&event).timeout(self.timeout)
    }

    /// Returns true if one of these things was to be done to its trigger.
    pub(crate) fn has_edit(&self, edits: &[Edit]) -> bool {
        self.edits.iter().any(|(_, edit)| edits.contains(edit))
    }

    /// Returns true if its event says which fire it is. Otherwise only the Lambda request does.
    pub(crate) fn is_identified(&self) -> bool {
        self.is_scheduled || self.kind == Kind::Subscribed
    }

    /// Returns the number of pieces that an agent has sent when it completes.
    pub(crate) fn pieces(&self) -> u64 {
        self.answer.steps.iter().filter(|step| matches!(step, Step::Bytes(_))).count() as u64
    }
}

fn refusal(rng: &mut Rng) -> Script {
    match rng.u32(0..4) {
        0 => Script::retry_after(503, rng.u64(0..2)),
        1 => Script::retry_after(429, 0),
        2 => Script::status(409, r#"{"message":"busy"}"#),
        _ => Script::status(429, r#"{"message":"busy"}"#),
    }
}

fn answer(agent: Agent, rng: &mut Rng) -> Script {
    let text = "The quarter has 57 files.";
    let happy = |rng: &mut Rng| match rng.u32(0..2) {
        0 => Script::ndjson_happy(text),
        _ => Script::sse_happy(text),
    };
    match agent {
        Agent::Completes | Agent::Refuses => match rng.u32(0..10) {
            0..3 => Script::ndjson_happy(text),
            3..5 => Script::sse_happy(text),
            5 => Script::json_happy(text),
            6 => Script::never_ends(text),
            _ => happy(rng).paced(millis(rng, 5..100)),
        },
        Agent::RefusesForEver => refusal(rng),
        Agent::Rejects => Script::status([400, 403, 404, 422][rng.usize(0..4)], r#"{"message":"no"}"#),
        Agent::Fails => match rng.u32(0..7) {
            0 => Script::status([500, 502, 504][rng.usize(0..3)], r#"{"message":"broken"}"#),
            1 => Script::status(503, "gone"),
            2 => Script::server_error_event("it broke"),
            3 => Script::sse_error("it broke"),
            4 => Script::sse_error_event("it broke"),
            5 => Script::json_error("it broke"),
            _ => Script::html(),
        },
        Agent::Tears => match rng.u32(0..5) {
            0 => Script::cut(),
            1 => Script::reset_before_head(),
            2 => happy(rng).midway(Step::Fin),
            3 => happy(rng).paced(millis(rng, 5..40)).midway(Step::Rst),
            _ => Script::sse_happy(text).framing(Framing::CloseDelimited),
        },
        Agent::Endless => match rng.u32(0..3) {
            0 => Script::hang_before_head(),
            1 => happy(rng).midway(Step::Hang),
            _ => Script::endless(millis(rng, 10..200)),
        },
    }
}

fn store_faults(rng: &mut Rng, trigger_id: &str) -> Vec<(&'static str, Rule)> {
    let count = rng.usize(1..3);
    let draw = |_| {
        let (name, fault) = match rng.u32(0..20) {
            0..5 => ("throttle", Fault::Throttle),
            5..8 => ("server error", Fault::ServerError),
            8..12 => ("reset", Fault::Reset),
            12..16 => ("apply, then lose", Fault::ApplyThenLose),
            16..19 => ("delay", Fault::Delay(millis(rng, 100..3000))),
            _ => ("hang", Fault::Hang),
        };
        let times = match rng.u32(0..20) {
            0..13 => 1,
            13..17 => 3,
            // Each of these costs the whole time limit of a try.
            _ if matches!(fault, Fault::Hang | Fault::Delay(_)) => 5,
            _ => 20,
        };
        let rule = match rng.u32(0..7) {
            0..2 => Rule::new("PutItem", fault),
            2..5 => Rule::new("UpdateItem", fault),
            5 => Rule::new("GetItem", fault),
            _ => Rule::any(fault),
        };
        let key = format!("\"TRIGGER#{trigger_id}\"");
        (name, rule.containing(&key).after(rng.usize(0..3)).times(times))
    };
    (0..count).map(draw).collect()
}

/// Draws the next answers of the token endpoint.
pub(crate) fn token_answers(seed: u64, count: usize) -> Vec<TokenAnswer> {
    let mut rng = Rng::with_seed(seed);
    let raw = |status: u16, content_type: &str, body: Value| TokenAnswer::Raw {
        status,
        content_type: content_type.to_owned(),
        body: body.to_string(),
    };
    let mut answers = Vec::new();
    while answers.len() < count {
        let answer = match rng.u32(0..100) {
            0..76 => TokenAnswer::Ok,
            76..82 => TokenAnswer::Status(429),
            82..87 => TokenAnswer::Status(500),
            87..91 => TokenAnswer::Reset,
            91..95 => TokenAnswer::Delay(millis(&mut rng, 50..900)),
            95..97 => TokenAnswer::Hang,
            97..99 => raw(200, "text/html", json!("<html>")),
            _ => raw(400, "application/json", json!({"error": "invalid_scope"})),
        };
        // Three failures in a row exceed what is retried in place.
        let times = if matches!(answer, TokenAnswer::Hang) { 1 } else { rng.usize(1..5) };
        answers.extend(std::iter::repeat_n(answer, times));
    }
    answers
}
