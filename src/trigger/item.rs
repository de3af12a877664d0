//! Trigger items: what a stored trigger says it runs, and for which events (docs/triggers.md, The item).

use std::mem;

use serde_json::{Map, Value};

use crate::{
    domain::{
        ending::SkipReason,
        failure::{ErrorType, Failure},
        fire::Fire,
        task::{Task, body_members},
        threshold::Threshold,
        trigger_snapshot::TriggerSnapshot,
    },
    events::bus::BusEvent,
    json::fields::{Fields, ID_LIMIT, kind, member},
    trigger::{
        condition::Conditions,
        documented,
        pattern::Pattern,
        prompt::{Mapping, Prompt},
        replay,
    },
};

/// A stored trigger.
#[derive(Debug)]
pub(crate) struct TriggerItem {
    pub(crate) trigger_id: String,
    pub(crate) user_id: String,
    item: Map<String, Value>,
}

/// Which events a stored trigger asks for, as far as that is understood.
struct Filters {
    pattern: Option<Pattern>,
    conditions: Option<Conditions>,
    threshold: Option<Threshold>,
}

/// What a stored trigger makes of an event.
#[derive(Debug)]
pub(crate) enum TriggerDecision {
    /// Its pattern or its conditions do not match.
    Filtered,
    /// It is to run, once its events reach the threshold if it has one.
    Run(Box<Fire>, Option<Threshold>),
    /// It matches and is deliberately not run.
    Skip(Box<Fire>, SkipReason),
    /// It cannot be understood.
    Invalid(Box<Fire>, Failure),
}

/// What a trigger item makes of a fire whose event says itself what to run.
pub(crate) enum StoredTask {
    /// It is to run, as the item says where it says anything.
    Run(Box<Fire>),
    /// It is deliberately not run.
    Skip(SkipReason),
}

/// What of a trigger item wins over an event's copy.
const FIELDS: [&str; 7] =
    ["agentId", "prompt", "modelId", "workingDirectory", "enabledTools", "reasoningEffort", "input"];

/// A key that no execution can be stored under.
#[derive(Debug, thiserror::Error)]
#[error(
    "a trigger item has a key that is not TRIGGER#userId, TRIGGER#triggerId with ids of 1 to {ID_LIMIT} bytes without control characters"
)]
pub(crate) struct UnusableKey;

impl TriggerItem {
    /// Reads an item by its key, which its own `id` and `userId` can only repeat.
    pub(crate) fn read(item: Value) -> Result<Self, UnusableKey> {
        let Value::Object(item) = item else { return Err(UnusableKey) };
        let id = |name: &str| {
            let id = item.get(name)?.as_str()?.strip_prefix("TRIGGER#")?;
            let usable = !id.trim().is_empty() && id.len() <= ID_LIMIT && !id.contains(char::is_control);
            usable.then(|| id.to_owned())
        };
        let (user_id, trigger_id) = id("PK").zip(id("SK")).ok_or(UnusableKey)?;
        Ok(Self { trigger_id, user_id, item })
    }

    /// Returns what a result of an execution rests on.
    pub(crate) fn snapshot(&self) -> TriggerSnapshot {
        TriggerSnapshot::read(&mut Fields::new("$", &self.item), &self.item)
    }

    /// What becomes of an event: its filters decide_claim first, so that a trigger with other faults fails only on events that
    /// are meant for it.
    pub(crate) fn decide(&self, event: &BusEvent, is_agentcore: bool) -> TriggerDecision {
        let mut problems = Vec::new();
        if !event.is_for_user(&self.user_id) && !self.follows_any_user(&mut problems) {
            return TriggerDecision::Filtered;
        }
        let filters = self.filters(&mut problems);
        let matches = filters.pattern.is_none_or(|pattern| pattern.matches(&event.event))
            && filters.conditions.is_none_or(|conditions| conditions.matches(&event.event));
        if matches { self.run(event, is_agentcore, problems, filters.threshold) } else { TriggerDecision::Filtered }
    }

    /// What becomes of an event that was handed on to this trigger, for its filters matched. They are not asked again: what
    /// they say may have changed, and an execution that has begun must find its end.
    pub(crate) fn handed_on(&self, event: &BusEvent, is_agentcore: bool) -> TriggerDecision {
        let mut problems = Vec::new();
        self.filters(&mut problems);
        self.run(event, is_agentcore, problems, None)
    }

    /// What becomes of an event that is meant for this trigger whatever its filters say.
    pub(crate) fn run_now(&self, event: &BusEvent, is_agentcore: bool) -> TriggerDecision {
        self.run(event, is_agentcore, Vec::new(), None)
    }

    fn run(
        &self,
        event: &BusEvent,
        is_agentcore: bool,
        problems: Vec<String>,
        threshold: Option<Threshold>,
    ) -> TriggerDecision {
        let mut fields = Fields { problems, ..Fields::new("$", &self.item) };
        for (name, own) in [("id", &self.trigger_id), ("userId", &self.user_id)] {
            if fields.text(name).is_some_and(|id| id != *own) {
                fields.problem(name, "must be what the item's key says");
            }
        }
        let skip_reason = skip_reason(&mut fields);
        documented::misspelt(&mut fields);
        let trigger = TriggerSnapshot::read(&mut fields, &self.item);
        let name = fields.text("name");
        let task = Task::read(&mut fields, is_agentcore);
        let mapping = body_members(&mut fields, "inputMapping");
        let mut problems = fields.problems;
        let mapping = Mapping::parse(&mapping, &mut problems);
        let prompt = Prompt::parse(&task.prompt, &mut problems);
        let fire = event.fire(&self.trigger_id, &self.user_id);
        let mut fire = Fire { task, trigger: Some(Box::new(trigger)), ..fire };
        // Of what is switched off or deleted nobody wants to hear what else is wrong with it.
        if let Some(reason) = skip_reason {
            return TriggerDecision::Skip(Box::new(fire), reason);
        }
        if !problems.is_empty() {
            return TriggerDecision::Invalid(Box::new(fire), invalid(&problems));
        }
        fire.task.prompt = prompt.render(event, &self.trigger_id, name.as_deref());
        fire.task.input.extend(mapping.apply(&event.event));
        TriggerDecision::Run(Box::new(fire), threshold)
    }

    fn filters(&self, problems: &mut Vec<String>) -> Filters {
        let config = self.event_config(problems);
        let pattern = parsed(config, "eventPattern", problems, |value| match value {
            // As some APIs store it.
            Value::String(text) => {
                let value = serde_json::from_str(text).map_err(|_| vec!["$: must be JSON".to_owned()])?;
                Pattern::parse(&value)
            }
            value => Pattern::parse(value),
        });
        let conditions = parsed(config, "condition", problems, Conditions::parse);
        let mut fields = Fields { problems: mem::take(problems), ..Fields::new("$", &self.item) };
        if fields.text("type").is_some_and(|name| name != "event") {
            fields.problem("type", "must be \"event\"");
        }
        *problems = fields.problems;
        let threshold = parsed(config, "threshold", problems, Threshold::parse);
        documented::misspelt_config(self.item.get("eventConfig").unwrap_or_default(), problems);
        Filters { pattern, conditions, threshold }
    }

    /// What becomes of a fire whose event says itself what to run: the item wins where it says anything.
    ///
    /// # Errors
    /// `InvalidTrigger` with every problem at once.
    pub(crate) fn stored_task(&self, fire: &Fire, is_agentcore: bool) -> Result<StoredTask, Failure> {
        let mut merged = replay::detail(fire);
        // A replay asks what was asked then.
        for name in FIELDS.iter().filter(|_| fire.replay_of.is_none()) {
            if let Some(value) = self.item.get(*name).filter(|value| !value.is_null()) {
                merged[*name] = value.clone();
            }
        }
        let no_fields = Map::new();
        let mut fields = Fields::new("$", &self.item);
        let skip_reason = skip_reason(&mut fields);
        documented::misspelt(&mut fields);
        let trigger = TriggerSnapshot::read(&mut fields, &self.item);
        let mut fields =
            Fields { problems: fields.problems, ..Fields::new("$", merged.as_object().unwrap_or(&no_fields)) };
        let task = Task::read(&mut fields, is_agentcore);
        if let Some(reason) = skip_reason {
            return Ok(StoredTask::Skip(reason));
        }
        if !fields.problems.is_empty() {
            return Err(invalid(&fields.problems));
        }
        Ok(StoredTask::Run(Box::new(Fire { task, trigger: Some(Box::new(trigger)), ..fire.clone() })))
    }

    /// Returns whether the trigger follows the executions of other users too.
    fn follows_any_user(&self, problems: &mut Vec<String>) -> bool {
        let mut fields = Fields { problems: mem::take(problems), ..Fields::new("$", &self.item) };
        let follows = fields.flag("followsAnyUser");
        *problems = fields.problems;
        follows == Some(true)
    }

    fn event_config(&self, problems: &mut Vec<String>) -> Option<&Map<String, Value>> {
        match self.item.get("eventConfig") {
            None | Some(Value::Null) => None,
            Some(Value::Object(config)) => Some(config),
            Some(other) => {
                problems.push(format!("$.eventConfig: must be an object, not {}", kind(other)));
                None
            }
        }
    }
}

fn invalid(problems: &[String]) -> Failure {
    Failure::fatal(ErrorType::InvalidTrigger, format!("invalid trigger item: {}", problems.join("; ")))
}

/// Why the trigger is not to run, whatever the event.
fn skip_reason(fields: &mut Fields<'_>) -> Option<SkipReason> {
    let is_disabled = fields.flag("enabled") == Some(false);
    if fields.value("deletedAt").is_some() {
        Some(SkipReason::Deleted)
    } else if is_disabled && fields.value("pausedAt").is_some() {
        Some(SkipReason::Paused)
    } else {
        is_disabled.then_some(SkipReason::Disabled)
    }
}

/// A part of `eventConfig`, its problems told by their place in the item.
fn parsed<T>(
    config: Option<&Map<String, Value>>,
    name: &str,
    problems: &mut Vec<String>,
    parse: impl Fn(&Value) -> Result<T, Vec<String>>,
) -> Option<T> {
    let value = config?.get(name).filter(|value| !value.is_null())?;
    match parse(value) {
        Ok(part) => Some(part),
        Err(found) => {
            let place = member("$.eventConfig", name);
            problems.extend(found.iter().map(|problem| match problem.strip_prefix('$') {
                Some(rest) => format!("{place}{rest}"),
                None => format!("{place}: {problem}"),
            }));
            None
        }
    }
}
