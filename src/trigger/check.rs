//! Checks a trigger item before it is stored: everything that is wrong with it, and its result for an event. Only the
//! control plane uses this. The function itself never does.

use serde_json::{Map, Value};

use crate::{
    domain::platform::Platform,
    events::{
        bus::BusEvent,
        invalid::InvalidEvent,
        schedule::{self, Event},
        target::EventTarget,
    },
    json::{fields::Fields, steps::Steps},
    trigger::{
        bounds::MOST_STEPS,
        documented,
        item::{TriggerDecision, TriggerItem},
        pattern::Refusal,
    },
};

/// The result of a trigger item for an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// The parts of the item that keep the event from it: `eventSourceId` if its events go to the triggers of another
    /// source, and the filters that do not match, `eventPattern` and `condition`. If there is none of these, it is
    /// `userId` where the event announces another user's execution.
    pub refused_by: Vec<&'static str>,
    /// The source to whose triggers such events go, as the router reads it. `None` if the event names its trigger
    /// itself.
    pub event_source_id: Option<String>,
    /// The first place at which the event does not match `eventPattern`, as a JSON path, and the value there. `None` if
    /// it matches, or if no single place decides.
    pub pattern_refusal: Option<(String, Option<Value>)>,
    /// The reason why the fire would be skipped, if it would.
    pub skip_reason: Option<&'static str>,
    /// The prompt as the agent would get it. `None` if the fire would be skipped, if the item is invalid, or if it
    /// costs too much on this event. A problem of its filters does not count.
    pub prompt: Option<String>,
    /// The members that the trigger adds to the agent's request. `None` if there is no prompt.
    pub input: Option<Value>,
    /// The queries of the prompt and the mapping that find nothing in the event.
    pub empty_queries: Vec<String>,
}

/// Returns everything that is wrong with an item, one sentence for each, which begins with the JSON path. Once there
/// are 50, further ones may be left out. An item without a usable key has this one problem. The members `id` and
/// `userId` are not compared with the key.
pub fn problems(item: Value, platform: Platform) -> Vec<String> {
    match TriggerItem::read(item) {
        Ok(item) => item.problems(platform),
        Err(unusable) => vec![format!("$: {unusable}")],
    }
}

/// Returns the misspelt members of a change to an item, and of its `scheduleConfig` and `eventConfig`, one sentence for
/// each as of [`problems`]. A member is misspelt if its name is nearly a documented one which the change does not have.
/// The stored item may have that one already, and would not change.
pub fn misspelt(change: &Map<String, Value>) -> Vec<String> {
    let mut fields = Fields::new("$", change);
    documented::misspelt(&mut fields);
    let mut problems = fields.problems;
    let part = |name: &str| change.get(name).unwrap_or_default();
    documented::misspelt_config(part("eventConfig"), &mut problems);
    documented::misspelt_schedule(part("scheduleConfig"), &mut problems);
    problems
}

/// Previews the result of an item for an event, which is given as its text. Nothing is stored or run. An item without a
/// usable key has an empty preview.
///
/// # Errors
/// The error names what is wrong with the event. The event of a schedule and an agent's report are refused, because no
/// filter applies to them.
pub fn preview(item: Value, event: &str, platform: Platform) -> Result<Preview, InvalidEvent> {
    let event = match schedule::parse(Some(event), platform)? {
        Event::Bus(event) => event,
        Event::Report(_) => {
            return Err(InvalidEvent::new(vec!["$.detail-type: an agent's report is not filtered".to_owned()]));
        }
        Event::Scheduled(_) => {
            return Err(InvalidEvent::new(vec!["$.detail-type: a schedule's fire is not filtered".to_owned()]));
        }
    };
    let Ok(item) = TriggerItem::read(item) else { return Ok(Preview::default()) };
    Ok(preview_of(&item, &event, platform))
}

/// Previews the result of an item for an event. The prompt is shown even if a filter refuses the event. An item that is
/// invalid or switched off has no prompt, but a problem of its filters does not count. [`problems`] reports what is
/// wrong with it. The filters are asked first: `userId` is named only if none of them refuses the event.
fn preview_of(item: &TriggerItem, event: &BusEvent, platform: Platform) -> Preview {
    // The caller chooses the item and the event. The filters and the queries together take no more steps than the
    // filters of a run, and the prompt below takes no more than that of a run.
    let steps = Steps::new(MOST_STEPS);
    // An event that names its trigger, as that of a webhook does, needs no subscription.
    let event_source_id = matches!(event.target, EventTarget::Subscribers).then(|| event.event_source_id.clone());
    let is_of_another =
        event_source_id.as_deref().zip(item.event_source_id()).is_some_and(|(events, items)| events != items);
    let filters = item.refusing(event, &steps);
    let mut refused_by: Vec<_> = is_of_another.then_some("eventSourceId").into_iter().chain(filters).collect();
    let pattern_refusal = refused_by.contains(&"eventPattern").then(|| item.pattern_refusal(event, &steps)).flatten();
    let pattern_refusal = pattern_refusal.map(|Refusal { path, value }| (path, value.cloned()));
    let empty_queries = item.empty_queries(event, &steps);
    if refused_by.is_empty() && !item.may_learn_of(event, &mut Vec::new()) {
        refused_by.push("userId");
    }
    // The filters are left out here, so that the prompt shows even if one of them refuses.
    let (skip_reason, fire) = match item.run_now(event, platform) {
        TriggerDecision::Run(fire) => (None, Some(fire)),
        TriggerDecision::Skip(_, reason) => (Some(reason.as_str()), None),
        TriggerDecision::Invalid(..) => (None, None),
    };
    let (prompt, input) = fire.map(|fire| (fire.task.prompt, Value::Object(fire.task.input))).unzip();
    Preview { refused_by, event_source_id, pattern_refusal, skip_reason, prompt, input, empty_queries }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(attributes: Value) -> Value {
        let mut item = json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t", "id": "t", "userId": "u", "type": "event",
            "agentId": "a", "prompt": "Read {{ $.detail.key }} of {{ $.detail.bucket }}"});
        item.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        item
    }

    fn preview_with(attributes: Value) -> Preview {
        let event = json!({"detail-type": "Object Created", "source": "aws.s3", "id": "1",
            "detail": {"key": "k", "size": 5}});
        preview(item(attributes), &event.to_string(), Platform::Other).unwrap()
    }

    #[test]
    fn every_problem_is_named_by_its_path() {
        let wrong = item(json!({"agentId": 7, "prompt": "{{ $..[ }}", "overlap": "queue", "treshold": 1,
            "inputMapping": {"x": 5}, "eventConfig": {"eventPattern": {"detail": 7}, "condition": [{}]}}));
        let problems = problems(wrong, Platform::Other);
        for path in [
            "$.agentId",
            "$.prompt",
            "$.overlap",
            "$.inputMapping.x",
            "$.eventConfig.eventPattern",
            "$.eventConfig.condition",
        ] {
            assert!(problems.iter().any(|problem| problem.starts_with(path)), "{path} in {problems:?}");
        }
        let schedule = item(json!({"type": "schedule", "prompt": "no query: {{ $..[ }}", "eventConfig": null}));
        assert_eq!(super::problems(schedule, Platform::Other), Vec::<String>::new());
        assert_eq!(super::problems(json!({"PK": "x"}), Platform::Other).len(), 1);
    }

    /// What is asked for may be a bomb. The filters and the queries of a preview together stop where the filters of a
    /// run would.
    #[test]
    fn the_filters_and_the_queries_of_a_preview_share_their_steps() {
        let list = vec![json!({"k": "v", "n": 1}); 5_000];
        let event = json!({"detail-type": "Object Created", "source": "aws.s3", "id": "1",
            "detail": {"a": list, "b": list}})
        .to_string();
        let compared = "$.detail.a[?$.detail.a == $.detail.b]";
        let names: Value = (0..50).map(|at| (format!("name-{at}"), json!(compared))).collect();
        let bomb = item(json!({"prompt": format!("{{{{ {compared} }}}}").repeat(50), "inputMapping": names,
            "eventConfig": {"condition": {"field": compared, "operator": "eq", "value": "x"}}}));
        let seen = preview(bomb.clone(), &event, Platform::Other).unwrap();
        assert_eq!((seen.refused_by, seen.empty_queries, seen.prompt), (Vec::new(), Vec::new(), None));
        let Ok(Event::Bus(event)) = schedule::parse(Some(&event), Platform::Other) else { panic!("an event") };
        let bomb = TriggerItem::read(bomb).unwrap();
        let steps = Steps::new(MOST_STEPS);
        bomb.refusing(&event, &steps);
        let taken = steps.taken();
        bomb.empty_queries(&event, &steps);
        assert!(steps.are_spent() && taken < 2 * MOST_STEPS && steps.taken() == taken, "{taken} and {}", steps.taken());
    }

    #[test]
    fn a_preview_names_the_user_only_where_nothing_else_refuses() {
        let event = json!({"detail-type": "Execution Status Change", "source": "agent-trigger", "_from": "stack-bus",
            "id": "7d0d3b2e-0d5b-4f8e-9d5c-3f1c0a3c2f11", "time": "2026-01-31T07:00:00Z",
            "detail": {"executionId": "e", "triggerId": "other", "userId": "another", "status": "completed",
                "completedAt": "2026-01-31T07:00:00Z"}})
        .to_string();
        let refused = |attributes: Value| preview(item(attributes), &event, Platform::Other).unwrap().refused_by;
        let pattern = json!({"eventPattern": {"detail": {"status": ["failed"]}}});
        assert_eq!(refused(json!({})), ["userId"]);
        assert_eq!(refused(json!({"eventConfig": pattern})), ["eventPattern"]);
        assert_eq!(refused(json!({"followsAnyUser": true})), Vec::<&str>::new());
    }

    #[test]
    fn a_pattern_says_where_it_refuses() {
        for (pattern, place) in [
            (json!({"detail": {"key": ["k"]}}), None),
            (json!({"detail": {"key": ["k"], "size": [7]}}), Some(("$.detail.size", Some(json!(5))))),
            (json!({"detail": {"state": ["x"]}}), Some(("$.detail.state", None))),
            (json!({"detail": {"a": {"c": ["x"]}}}), Some(("$.detail.a", None))),
            (json!({"detail": {"key": {"c": ["x"]}}}), Some(("$.detail.key", Some(json!("k"))))),
            // No single place decides.
            (json!({"$or": [{"detail": {"key": ["x"]}}, {"detail": {"size": [1]}}]}), None),
        ] {
            let seen = preview_with(json!({"eventConfig": {"eventPattern": pattern}}));
            let place = place.map(|(path, value)| (path.to_owned(), value));
            assert_eq!(seen.pattern_refusal, place, "{pattern}");
        }
    }

    /// The source is compared as the router compares it: with hyphens for dots, unless the event names it.
    #[test]
    fn an_event_of_another_source_is_refused() {
        let of = |attributes: Value, marks: Value| {
            let mut event = json!({"detail-type": "x", "source": "aws.codepipeline", "id": "1", "detail": {}});
            event.as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
            let seen = preview(item(attributes), &event.to_string(), Platform::Other).unwrap();
            (seen.refused_by, seen.event_source_id)
        };
        let subscribed = |source: &str| json!({"eventConfig": {"eventSourceId": source}});
        let named = json!({"_eventSourceId": "uploads"});
        let addressed = json!({"_address": {"triggerId": "t", "userId": "u"}});
        for (attributes, marks, refused, source) in [
            (subscribed("aws-codepipeline"), json!({}), vec![], Some("aws-codepipeline")),
            (subscribed("aws.codepipeline"), json!({}), vec!["eventSourceId"], Some("aws-codepipeline")),
            (subscribed("aws-codepipline"), json!({}), vec!["eventSourceId"], Some("aws-codepipeline")),
            (subscribed("uploads"), named.clone(), vec![], Some("uploads")),
            (subscribed("aws-codepipeline"), named, vec!["eventSourceId"], Some("uploads")),
            (subscribed("webhook"), addressed, vec![], None),
            (json!({}), json!({}), vec![], Some("aws-codepipeline")),
        ] {
            let expected = (refused, source.map(str::to_owned));
            assert_eq!(of(attributes.clone(), marks.clone()), expected, "{attributes} {marks}");
        }
    }

    #[test]
    fn a_preview_shows_the_prompt_and_who_refuses() {
        let seen = preview_with(json!({"inputMapping": {"size": "$.detail.size", "none": "$.detail.none"}}));
        assert_eq!(seen.refused_by, Vec::<&str>::new());
        assert!(seen.prompt.unwrap().starts_with("Read \"k\" of null"));
        assert_eq!(seen.input, Some(json!({"size": 5})));
        assert_eq!(seen.empty_queries.len(), 2, "{:?}", seen.empty_queries);
        let seen = preview_with(json!({"eventConfig": {"eventPattern": {"source": ["aws.ec2"]},
            "condition": {"field": "detail.size", "operator": "gt", "value": 9}}}));
        assert_eq!(seen.refused_by, ["eventPattern", "condition"]);
        assert_eq!(seen.pattern_refusal, Some(("$.source".to_owned(), Some(json!("aws.s3")))));
        assert!(seen.prompt.is_some());
        assert_eq!(preview_with(json!({"enabled": false})).skip_reason, Some("Disabled"));
    }
}
