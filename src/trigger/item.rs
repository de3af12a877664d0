//! Trigger items: the definition of a stored trigger, with what it runs and for which events (docs/triggers.md, The
//! item).

use std::mem;

use serde_json::{Map, Value};

use crate::{
    domain::{
        ending::SkipReason,
        failure::{ErrorType, Failure},
        fire::Fire,
        ids::{TriggerId, UserId},
        platform::Platform,
        task::{Task, body_members, refuse_callback},
        threshold::Threshold,
        trigger_snapshot::TriggerSnapshot,
    },
    events::bus::BusEvent,
    json::{
        fields::{Fields, ID_LIMIT, kind, member},
        lenient,
        steps::Steps,
    },
    store::keys,
    trigger::{
        bounds::{EventSteps, LEAST_STEPS, MOST_STEPS, MOST_STEPS_OF_EVENT},
        condition::Conditions,
        documented,
        pattern::{Pattern, Refusal},
        prompt::{Allowance, Mapping, Prompt, TooCostly},
    },
};

/// A stored trigger.
#[derive(Debug, PartialEq)]
pub(crate) struct TriggerItem {
    pub(crate) trigger_id: TriggerId,
    pub(crate) user_id: UserId,
    item: Map<String, Value>,
}

/// The filters of a stored trigger. A filter that is absent or was not understood is `None`.
struct Filters {
    pattern: Option<Pattern>,
    conditions: Option<Conditions>,
    threshold: Option<Threshold>,
}

/// The decision of a stored trigger's filters about an event. Only the filters are applied, so that no other fault of
/// an item, and no cost of its prompt, affects the invocation that decides about all triggers. The fires have no
/// prompt.
#[derive(Debug)]
pub(crate) enum FilterDecision {
    /// The trigger's pattern or its conditions do not match, or the event is another user's execution that the trigger
    /// does not follow.
    Filtered,
    /// The trigger matches. If it has a threshold, it runs only when its events reach the threshold.
    Due(Box<Fire>, Option<Threshold>),
    /// The trigger is deliberately not run, although it matches or its filters cost too much.
    Skip(Box<Fire>, SkipReason),
    /// The filters cost too much on this event. The trigger must fail as invalid.
    TooCostly(Box<Fire>),
}

/// The decision of a stored trigger about an event that is meant for it.
#[derive(Debug)]
pub(crate) enum TriggerDecision {
    /// The trigger must run.
    Run(Box<Fire>),
    /// The trigger is deliberately not run.
    Skip(Box<Fire>, SkipReason),
    /// The trigger's item is invalid.
    Invalid(Box<Fire>, Failure),
}

/// The decision of a trigger item about a fire whose event defines itself what to run.
pub(crate) enum StoredTask {
    /// The fire must run, with the item's values where they take precedence.
    Run(Box<Fire>),
    /// The fire is deliberately not run.
    Skip(SkipReason),
}

/// The error for an item whose key does not contain usable ids, so that no execution can be stored for it.
#[derive(Debug, thiserror::Error)]
#[error(
    "a trigger item has a key that is not TRIGGER#userId, TRIGGER#triggerId with ids of 1 to {ID_LIMIT} bytes without control characters"
)]
pub(crate) struct UnusableKey;

impl TriggerItem {
    /// Reads an item. Its ids are those of its key, which its own `id` and `userId` can only repeat: `PK` is `TRIGGER#`
    /// and the user's id, `SK` is `TRIGGER#` and the trigger's. Nothing else is read here.
    ///
    /// # Errors
    /// Returns an error if the item is no object, or if its key does not hold usable ids.
    pub(crate) fn read(item: Value) -> Result<Self, UnusableKey> {
        let Value::Object(item) = item else { return Err(UnusableKey) };
        let id = |name: &str| {
            let id = item.get(name)?.as_str()?.strip_prefix("TRIGGER#")?;
            let usable = !id.trim().is_empty() && id.len() <= ID_LIMIT && !id.contains(char::is_control);
            usable.then(|| id.to_owned())
        };
        let (user_id, trigger_id) = id("PK").zip(id("SK")).ok_or(UnusableKey)?;
        Ok(Self { trigger_id: trigger_id.into(), user_id: user_id.into(), item })
    }

    /// Returns the policy, the health and the version of the item, on which an execution's admission and result depend.
    /// A value that is not understood has its default. Problems are reported where the item is used.
    pub(crate) fn snapshot(&self) -> TriggerSnapshot {
        TriggerSnapshot::read(&mut Fields::new("$", &self.item), &self.item)
    }

    /// Returns everything that is wrong with the item, whatever event would run it. Once there are 50 problems, further
    /// ones may be left out. The members `id` and `userId` are not compared with the key. For an item with the `type`
    /// `schedule`, the filters, `followsAnyUser` and the placeholders of its prompt are not checked, because it has
    /// none.
    pub(crate) fn problems(&self, platform: Platform) -> Vec<String> {
        let mut problems = Vec::new();
        // A schedule has no filters. What else an item may hold is the same for both.
        let is_schedule = self.item.get("type").and_then(Value::as_str) == Some("schedule");
        if !is_schedule {
            self.filters(&mut problems);
            self.follows_any_user(&mut problems);
        }
        documented::misspelt_schedule(self.item.get("scheduleConfig").unwrap_or_default(), &mut problems);
        let mut fields = Fields { problems, ..Fields::new("$", &self.item) };
        skip_reason(&mut fields);
        documented::misspelt(&mut fields);
        TriggerSnapshot::read(&mut fields, &self.item);
        fields.text("name");
        let task = Task::read(&mut fields, platform);
        let mapping = body_members(&mut fields, "inputMapping");
        if task.detached.is_some() {
            refuse_callback(&mut fields, "inputMapping", &mapping);
        }
        let mut problems = fields.problems;
        Mapping::parse(&mapping, &mut problems);
        if !is_schedule {
            Prompt::parse(&task.prompt, &mut problems);
        }
        problems
    }

    /// Returns the names of the filters in `eventConfig` that do not match an event: `eventPattern`, `condition`, or
    /// both. A filter that is absent or has a problem counts as matching. A filter for which the steps do not suffice
    /// refuses nothing: the trigger fails on such an event.
    pub(crate) fn refusing(&self, event: &BusEvent, steps: &Steps) -> Vec<&'static str> {
        let filters = self.filters(&mut Vec::new());
        let is_refused = |matches: bool| !matches && !steps.are_spent();
        let pattern = filters.pattern.is_some_and(|pattern| is_refused(pattern.matches_within(&event.event, steps)));
        let conditions =
            filters.conditions.is_some_and(|conditions| is_refused(conditions.matches_within(&event.event, steps)));
        pattern.then_some("eventPattern").into_iter().chain(conditions.then_some("condition")).collect()
    }

    /// Returns the first place at which an event does not match the event pattern. `None` if it matches, if no single
    /// place decides, if there is no usable pattern, or if the steps do not suffice.
    pub(crate) fn pattern_refusal<'e>(&self, event: &'e BusEvent, steps: &Steps) -> Option<Refusal<'e>> {
        self.filters(&mut Vec::new()).pattern?.refusal(&event.event, steps)
    }

    /// Returns the texts of the queries of the prompt and of `inputMapping` that find nothing in an event, as far as
    /// the steps suffice. Queries with a problem are left out.
    pub(crate) fn empty_queries(&self, event: &BusEvent, steps: &Steps) -> Vec<String> {
        let prompt = self.item.get("prompt").and_then(Value::as_str).unwrap_or_default();
        let mapping = self.item.get("inputMapping").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut unused = Vec::new();
        let of_prompt = Prompt::parse(prompt, &mut unused).empty_queries(&event.event, steps);
        let of_mapping = Mapping::parse(&mapping, &mut unused).empty_queries(&event.event, steps);
        of_prompt.into_iter().chain(of_mapping).collect()
    }

    /// Returns the event source that `eventConfig` names, or `None` if it names none or the name is no text.
    pub(crate) fn event_source_id(&self) -> Option<&str> {
        self.item.get("eventConfig")?.get("eventSourceId")?.as_str()
    }

    /// Returns true if the item is subscribed to an event source: its `GSI2PK`, by which the index finds it, is the key
    /// of that source's subscribers.
    pub(crate) fn is_subscribed_to(&self, event_source_id: &str) -> bool {
        self.item.get("GSI2PK").and_then(Value::as_str) == Some(keys::subscribers_of(event_source_id).as_str())
    }

    /// Returns the item's task as far as it can be read, for the record of a fire that does not run. It must not be
    /// run, because its problems are dropped.
    pub(crate) fn task(&self, platform: Platform) -> Task {
        Task::read(&mut Fields::new("$", &self.item), platform)
    }

    /// Decides whether an event is meant for this trigger:
    ///
    /// - `Filtered`, if the event is another user's execution that the trigger does not follow, or if a filter does not
    ///   match.
    /// - `Skip`, if the filters match or cost too much, and the trigger is deleted, paused or disabled.
    /// - `TooCostly`, if the steps did not suffice for the filters.
    /// - `Due` otherwise, with the threshold if there is one: the caller then counts the event before it runs the
    ///   trigger.
    ///
    /// A filter that is absent or not understood lets every event pass: the invocation that runs the trigger reports
    /// the problem, like every other fault of the item. `taken` holds the steps of the filters of the event's other
    /// triggers, and those of this one are added.
    pub(crate) fn decide(&self, event: &BusEvent, platform: Platform, taken: &EventSteps) -> FilterDecision {
        let mut problems = Vec::new();
        if !self.may_learn_of(event, &mut problems) {
            return FilterDecision::Filtered;
        }
        let Filters { pattern, conditions, threshold } = self.filters(&mut problems);
        let steps = taken.of_one_more();
        let matches = pattern.is_none_or(|pattern| pattern.matches_within(&event.event, &steps))
            && conditions.is_none_or(|conditions| conditions.matches_within(&event.event, &steps));
        taken.add(&steps);
        if !matches && !steps.are_spent() {
            return FilterDecision::Filtered;
        }
        // The problems are told by the trigger's own invocation.
        let mut fields = Fields::new("$", &self.item);
        let skip_reason = skip_reason(&mut fields);
        let trigger = TriggerSnapshot::read(&mut fields, &self.item);
        let task = Task { prompt: String::new(), ..Task::read(&mut fields, platform) };
        let mut fire = Box::new(event.fire(&self.trigger_id, &self.user_id, task));
        fire.trigger = Some(Box::new(trigger));
        match skip_reason {
            Some(reason) => FilterDecision::Skip(fire, reason),
            None if steps.are_spent() => FilterDecision::TooCostly(fire),
            None => FilterDecision::Due(fire, threshold),
        }
    }

    /// Decides about an event that was handed on to this trigger because its filters matched, as [`TriggerItem::run`]
    /// does. Neither the filters nor the threshold are applied again: they may have changed since, and an execution
    /// that has begun must come to its end. Their problems count all the same. `are_too_costly` is true if the filters
    /// could not be applied. This is a problem, too.
    pub(crate) fn handed_on(&self, event: &BusEvent, platform: Platform, are_too_costly: bool) -> TriggerDecision {
        let mut problems = Vec::new();
        self.filters(&mut problems);
        if are_too_costly {
            let alone = format!("its filters take more than {MOST_STEPS} steps on this event");
            let together = format!("{LEAST_STEPS} where those of all triggers take more than {MOST_STEPS_OF_EVENT}");
            problems.push(format!("$.eventConfig: {alone}, or {together} (docs/triggers.md, What an item may cost)"));
        }
        self.run(event, platform, problems)
    }

    /// Decides about an event that is meant for this trigger whatever its filters say, as [`TriggerItem::run`] does.
    /// Even the filters' problems do not count. A trigger that is switched off is skipped all the same.
    pub(crate) fn run_now(&self, event: &BusEvent, platform: Platform) -> TriggerDecision {
        self.run(event, platform, Vec::new())
    }

    /// Decides about an event that has passed the filters, whose `problems` are given:
    ///
    /// - `Skip`, if the trigger is deleted, paused or disabled, even if it has problems.
    /// - `Invalid`, if there is a problem, or if the prompt and the mapping take more of the event than they may.
    /// - `Run` otherwise. The fire has the prompt for this event. Each mapped input replaces the member of `input` of
    ///   its name.
    ///
    /// A fire that is not run has the prompt as it stands in the item. The members `id` and `userId` are not read: the
    /// key holds the ids, and a change of health sets both members to them.
    fn run(&self, event: &BusEvent, platform: Platform, problems: Vec<String>) -> TriggerDecision {
        let mut fields = Fields { problems, ..Fields::new("$", &self.item) };
        let skip_reason = skip_reason(&mut fields);
        documented::misspelt(&mut fields);
        let trigger = TriggerSnapshot::read(&mut fields, &self.item);
        let name = fields.text("name");
        let task = Task::read(&mut fields, platform);
        let mapping = body_members(&mut fields, "inputMapping");
        if task.detached.is_some() {
            refuse_callback(&mut fields, "inputMapping", &mapping);
        }
        let mut problems = fields.problems;
        let mapping = Mapping::parse(&mapping, &mut problems);
        let prompt = Prompt::parse(&task.prompt, &mut problems);
        let mut fire = event.fire(&self.trigger_id, &self.user_id, task);
        fire.trigger = Some(Box::new(trigger));
        // A disabled or deleted trigger is skipped even if other fields are invalid.
        if let Some(reason) = skip_reason {
            return TriggerDecision::Skip(Box::new(fire), reason);
        }
        if !problems.is_empty() {
            return TriggerDecision::Invalid(Box::new(fire), invalid(&problems));
        }
        let allowance = Allowance::default();
        let told = prompt.render(event, &self.trigger_id, name.as_deref(), &allowance);
        let told = told.and_then(|prompt| Ok((prompt, mapping.apply(&event.event, &allowance)?)));
        match told {
            Ok((prompt, mapped)) => {
                fire.task.prompt = prompt;
                fire.task.input.extend(mapped);
                TriggerDecision::Run(Box::new(fire))
            }
            Err(cost) => TriggerDecision::Invalid(Box::new(fire), too_costly(cost)),
        }
    }

    /// Reads the filters. Every problem is added to `problems`, including misspelt members and a `type` other than
    /// `event`. A filter that is absent or has a problem is `None`: the caller tells them apart by the problems. An
    /// event pattern may be an object, or a text that holds one.
    fn filters(&self, problems: &mut Vec<String>) -> Filters {
        let config = self.event_config(problems);
        let pattern = parsed(config, "eventPattern", problems, |value| match value {
            // Some APIs store the pattern as a text.
            Value::String(text) => Pattern::parse(&lenient::parse(text).map_err(|error| vec![format!("$: {error}")])?),
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

    /// Decides about a fire of a schedule or a replay, by its trigger's item. A deleted, paused or disabled trigger is
    /// skipped, even if it has problems. Otherwise the fire is returned with its task and with the item's policy,
    /// health and version. The task is
    ///
    /// - for a replay, the one that the fire has: it repeats the task of the execution that it replays;
    /// - for a fire that leaves everything to the item (`stored`), the item's;
    /// - for any other, the fire's, in which the item's values take precedence ([`Task::to_detail_over`]).
    ///
    /// The filters do not apply, and neither do placeholders and `inputMapping`.
    ///
    /// # Errors
    /// Returns `InvalidTrigger` with every problem at once.
    pub(crate) fn stored_task(&self, fire: &Fire, platform: Platform) -> Result<StoredTask, Failure> {
        // A replay repeats the task of the execution that it replays.
        let merged = if fire.replay_of.is_some() {
            fire.task.to_detail()
        } else if fire.is_stored {
            self.item.clone()
        } else {
            fire.task.to_detail_over(&self.item)
        };
        let mut fields = Fields::new("$", &self.item);
        let skip_reason = skip_reason(&mut fields);
        documented::misspelt(&mut fields);
        let trigger = TriggerSnapshot::read(&mut fields, &self.item);
        let mut fields = Fields { problems: fields.problems, ..Fields::new("$", &merged) };
        let task = Task::read(&mut fields, platform);
        if let Some(reason) = skip_reason {
            return Ok(StoredTask::Skip(reason));
        }
        if !fields.problems.is_empty() {
            return Err(invalid(&fields.problems));
        }
        Ok(StoredTask::Run(Box::new(Fire { task, trigger: Some(Box::new(trigger)), ..fire.clone() })))
    }

    /// Returns true if the trigger's user may learn of the event: it is for this user ([`BusEvent::is_for_user`]), or
    /// the trigger follows the executions of any user. A problem of `followsAnyUser` is added to `problems`, but only
    /// if that is asked.
    pub(crate) fn may_learn_of(&self, event: &BusEvent, problems: &mut Vec<String>) -> bool {
        event.is_for_user(&self.user_id) || self.follows_any_user(problems)
    }

    /// Returns true if the item has `followsAnyUser: true`, so that it follows the executions of other users too. A
    /// value that is no boolean is a problem, and false.
    fn follows_any_user(&self, problems: &mut Vec<String>) -> bool {
        let mut fields = Fields { problems: mem::take(problems), ..Fields::new("$", &self.item) };
        let follows = fields.flag("followsAnyUser");
        *problems = fields.problems;
        follows == Some(true)
    }

    /// Returns `eventConfig`, or `None` if it is absent or null. A value that is no object is a problem, and `None`.
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

/// Returns the failure of an item with these problems: `InvalidTrigger`, which no attempt repairs.
fn invalid(problems: &[String]) -> Failure {
    Failure::fatal(ErrorType::InvalidTrigger, format!("invalid trigger item: {}", problems.join("; ")))
}

/// Returns the failure of an item whose prompt or mapping costs too much on an event: `InvalidTrigger`, which no
/// attempt repairs.
fn too_costly(cost: TooCostly) -> Failure {
    let message = format!("the trigger costs too much on this event: {cost} (docs/triggers.md, What an item may cost)");
    Failure::fatal(ErrorType::InvalidTrigger, message)
}

/// Returns the reason why every run of a trigger is skipped while its item stays as it is, or `None`. It is `Deleted`,
/// `Paused` or `Disabled`.
pub fn why_off(item: &Map<String, Value>) -> Option<SkipReason> {
    skip_reason(&mut Fields::new("$", item))
}

/// Returns the reason why the trigger must not run whatever the event is, or `None`. With any `deletedAt` but null it
/// is `Deleted`. With `enabled: false` it is `Paused` if there is a `pausedAt`, and otherwise `Disabled`. An `enabled`
/// that is no boolean is a problem in `fields` and counts as absent.
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

/// Reads the member `name` of `eventConfig` by `parse`, and adds its problems to `problems`, with its path in the item
/// before theirs. Returns `None` if the member is absent, null, or has a problem.
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
