//! Trigger items: what a stored trigger says it runs, and for which events (README, Subscriptions).

use serde_json::{Map, Value};

use crate::{
    bus::BusEvent,
    condition::Conditions,
    error::{ErrorType, Failure},
    fields::{Fields, ID_LIMIT, kind, member},
    fire::Fire,
    pattern::Pattern,
    prompt::{Mapping, Prompt},
    threshold::Threshold,
};

/// A stored trigger.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) trigger_id: String,
    pub(crate) user_id: String,
    item: Map<String, Value>,
}

/// What a stored trigger makes of an event.
#[derive(Debug)]
pub(crate) enum Interest {
    /// Its pattern or its conditions do not match.
    None,
    /// It is to run, once its events reach the threshold if it has one.
    Run(Box<Fire>, Option<Threshold>),
    /// It matches and is switched off.
    Disabled(Box<Fire>),
    /// It cannot be understood.
    Invalid(Box<Fire>, Failure),
}

/// A key that no execution can be stored under.
#[derive(Debug, thiserror::Error)]
#[error(
    "a trigger item has a key that is not TRIGGER#userId, TRIGGER#triggerId with ids of 1 to {ID_LIMIT} bytes without control characters"
)]
pub(crate) struct UnusableKey;

impl Subscription {
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

    /// What becomes of an event: its filters decide first, so that a trigger with other faults fails only on events that
    /// are meant for it.
    pub(crate) fn interest(&self, event: &BusEvent, is_agentcore: bool) -> Interest {
        let mut problems = Vec::new();
        let config = self.event_config(&mut problems);
        let pattern = parsed(config, "eventPattern", &mut problems, |value| match value {
            // As some APIs store it.
            Value::String(text) => {
                let value = serde_json::from_str(text).map_err(|_| vec!["$: must be JSON".to_owned()])?;
                Pattern::parse(&value)
            }
            value => Pattern::parse(value),
        });
        let conditions = parsed(config, "condition", &mut problems, Conditions::parse);
        let matches = pattern.is_none_or(|pattern| pattern.matches(&event.event))
            && conditions.is_none_or(|conditions| conditions.matches(&event.event));
        if !matches {
            return Interest::None;
        }
        let mut fields = Fields { problems, ..Fields::new("$", &self.item) };
        if fields.text("type").is_some_and(|name| name != "event") {
            fields.problem("type", "must be \"event\"");
        }
        let mut problems = fields.problems;
        let threshold = parsed(config, "threshold", &mut problems, Threshold::parse);
        self.run(event, is_agentcore, problems, threshold)
    }

    /// What becomes of an event that is meant for this trigger whatever its filters say.
    pub(crate) fn run_now(&self, event: &BusEvent, is_agentcore: bool) -> Interest {
        self.run(event, is_agentcore, Vec::new(), None)
    }

    fn run(
        &self,
        event: &BusEvent,
        is_agentcore: bool,
        problems: Vec<String>,
        threshold: Option<Threshold>,
    ) -> Interest {
        let mut fields = Fields { problems, ..Fields::new("$", &self.item) };
        for (name, own) in [("id", &self.trigger_id), ("userId", &self.user_id)] {
            if fields.text(name).is_some_and(|id| id != *own) {
                fields.problem(name, "must be what the item's key says");
            }
        }
        let enabled = fields.flag("enabled").unwrap_or(true);
        let name = fields.text("name");
        let task = fields.task(is_agentcore);
        let mapping = fields.body_members("inputMapping");
        let mut problems = fields.problems;
        let mapping = Mapping::parse(&mapping, &mut problems);
        let prompt = Prompt::parse(&task.prompt, &mut problems);
        let fire = event.fire(&self.trigger_id, &self.user_id);
        let mut fire = Fire {
            agent_id: task.agent_id,
            session_id: task.session_id,
            model_id: task.model_id,
            working_directory: task.working_directory,
            enabled_tools: task.enabled_tools,
            reasoning_effort: task.reasoning_effort,
            rerun_if_interrupted: task.rerun_if_interrupted,
            input: task.input,
            ..fire
        };
        if !problems.is_empty() {
            let message = format!("invalid trigger item: {}", problems.join("; "));
            return Interest::Invalid(Box::new(fire), Failure::fatal(ErrorType::InvalidTrigger, message));
        }
        if !enabled {
            return Interest::Disabled(Box::new(fire));
        }
        fire.prompt = prompt.render(event, &self.trigger_id, name.as_deref());
        fire.input.extend(mapping.apply(&event.event));
        Interest::Run(Box::new(fire), threshold)
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
