//! Whatever comes in, the event parser answers: with the fire that the event says, or with the paths of what is wrong.

use std::sync::LazyLock;

use agent_trigger::{
    domain::finish_reason::FinishReason::{
        self, Cancelled, ContentFilter, Guardrail, Limit, MaxTokens, Pause, Refusal,
    },
    domain::fire::{Fire, Origin},
    domain::platform::Platform,
    domain::task::{BODY_FIELDS, TASK_FIELDS, Task},
    events::bus::BusEvent,
    events::invalid::InvalidEvent,
    events::schedule::{DETAIL_FIELDS, Event, parse},
    events::target::EventTarget,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, UtcOffset};

/// The reasons that an event may accept.
const ACCEPTABLE: [FinishReason; 7] = [MaxTokens, ContentFilter, Guardrail, Refusal, Limit, Cancelled, Pause];
/// Begins every text that stands as a value, and no name.
const MARK: &str = "VALUE";

/// The names that an event may hold besides those of a task and of a scheduled event's detail.
const ENVELOPE_NAMES: [&str; 13] = [
    "detail-type",
    "detail",
    "id",
    "source",
    "time",
    "unknown",
    "replay-name",
    "_eventSourceId",
    "_dispatch",
    "_address",
    "_from",
    "_event",
    "executionId",
];

/// The names that an event may hold, so that arbitrary events come near to valid ones.
static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| [&ENVELOPE_NAMES[..], &DETAIL_FIELDS, &TASK_FIELDS].concat());

/// The fields of a detail that are read, none of which is a number. Nothing reads `detached` yet.
fn read_fields() -> Vec<&'static str> {
    let detail = DETAIL_FIELDS.iter().copied().filter(|name| *name != "detached");
    detail.chain(TASK_FIELDS).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Scheduled Event".to_owned()),
        Just("2026-01-31T07:00:00Z".to_owned()),
        Just("rerun".to_owned()),
        Just("agent-trigger".to_owned()),
        Just("Run Trigger".to_owned()),
        Just("Replay Execution".to_owned()),
        Just("Execution Status Change".to_owned()),
        Just("12345678-1234-4123-8123-123456789012".to_owned()),
        "\\PC{0,20}".prop_map(|text| format!("{MARK}{text}")),
        any::<String>().prop_map(|text| format!("{MARK}{text}")),
        "[a-z]{0,9}".prop_map(|text| format!("{MARK}<aws.scheduler.{text}>")),
        (250_usize..300).prop_map(|length| MARK.repeat(length / MARK.len())),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(&NAMES[..]).prop_map(str::to_owned), 1 => select(&BODY_FIELDS[..]).prop_map(str::to_owned),
        1 => "[a-z\\PC\\n\\\\\"]{0,5}".prop_map(|name| name.to_lowercase())]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 10, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(name(), inner, 0..10).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An event whose outer shape is right, with anything in its fields: of a schedule.
fn event_of_anything() -> impl Strategy<Value = Value> {
    event_of_type(Just("Scheduled Event"))
}

/// The same, of any other kind.
fn bus_event_of_anything() -> impl Strategy<Value = Value> {
    event_of_type(select(&["Object Created", "Run Trigger", "Replay Execution", "Execution Status Change"][..]))
}

fn event_of_type(detail_type: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Value> {
    let fields = || vec((select(&NAMES[..]), value()), 0..12);
    (fields(), fields(), detail_type).prop_map(|(envelope, detail, detail_type)| {
        let object = |fields: Vec<(&str, Value)>| -> Map<String, Value> {
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        let mut event = object(envelope);
        event.insert("detail-type".to_owned(), json!(detail_type));
        let mut detail = object(detail);
        for name in ["triggerId", "userId", "agentId", "prompt"] {
            detail.entry(name).or_insert(json!("some"));
        }
        event.insert("detail".to_owned(), Value::Object(detail));
        Value::Object(event)
    })
}

fn check(error: &InvalidEvent) {
    assert!(!error.problems.is_empty());
    for problem in &error.problems {
        assert!(problem.starts_with('$') && problem.contains(": "), "{problem:?}");
        assert!(!problem.contains(char::is_control), "{problem:?}");
        assert!(!problem.contains(MARK), "shows a value: {problem:?}");
    }
}

fn check_fire(fire: &Fire, platform: Platform) {
    let mut ids = vec![fire.trigger_id.as_str(), fire.user_id.as_str()];
    if fire.is_stored {
        // The item says the rest.
        assert!(fire.task.agent_id.is_empty() && fire.task.prompt.is_empty());
    } else {
        ids.push(fire.task.agent_id.as_str());
        assert!(!fire.task.prompt.is_empty());
    }
    for id in ids {
        assert!((1..=256).contains(&id.len()) && !id.contains(char::is_control), "{id:?}");
    }
    if let Some(id) = &fire.task.session_id {
        let shortest = if platform == Platform::AgentCore { 33 } else { 1 };
        assert!((shortest..=256).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    }
    assert!(BODY_FIELDS.iter().all(|name| !fire.task.input.contains_key(*name)));
    assert!(!format!("{fire:?}").contains("<aws.scheduler."));
}

/// Whatever of an event becomes part of a key is an id.
fn check_bus_event(event: &BusEvent) {
    let mut ids = vec![event.event_source_id.as_str()];
    match &event.target {
        EventTarget::Subscribers => {}
        EventTarget::Dispatched { trigger_id, user_id }
        | EventTarget::Addressed { trigger_id, user_id }
        | EventTarget::RunTrigger { trigger_id, user_id } => {
            ids.extend([trigger_id.as_str(), user_id.as_str()]);
        }
        // Its hash becomes part of a key.
        EventTarget::CancelCaller(_) => {}
        EventTarget::CancelExecution { trigger_id, execution_id }
        | EventTarget::ReplayExecution { trigger_id, execution_id } => {
            ids.extend([trigger_id.as_str(), execution_id.as_str()]);
        }
    }
    match &event.origin {
        Origin::Execution { id, .. } => ids.push(id.as_str()),
        Origin::Request { dispatcher } => ids.extend(dispatcher.as_deref()),
        Origin::Event { .. } | Origin::Schedule { .. } => {}
    }
    for id in ids {
        assert!((1..=256).contains(&id.len()) && !id.contains(char::is_control), "{id:?}");
    }
    assert!(["_dispatch", "_address", "_eventSourceId"].iter().all(|mark| event.event.get(*mark).is_none()));
}

fn check_any(payload: Option<&str>) {
    for platform in [Platform::Other, Platform::AgentCore] {
        match parse(payload, platform) {
            Ok(Event::Scheduled(fire)) => check_fire(&fire, platform),
            Ok(Event::Bus(event)) => check_bus_event(&event),
            Err(error) => check(&error),
        }
    }
}

/// A valid id: not blank, at most 256 bytes, without control characters.
fn id() -> impl Strategy<Value = String> {
    "\\PC{1,64}".prop_filter("not blank, no keyword", |id| !id.trim().is_empty() && !id.contains("<aws.scheduler."))
}

/// Any text without a keyword.
fn free_text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("no keyword", |text| !text.contains("<aws.scheduler."))
}

fn input() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), free_text().prop_map(Value::from)];
    let value = leaf.prop_recursive(3, 16, 4, |inner| vec(inner, 0..4).prop_map(Value::from));
    btree_map("[a-zA-Z]{1,9}", value, 0..5)
        .prop_map(|fields| fields.into_iter().filter(|(name, _)| !BODY_FIELDS.contains(&name.as_str())).collect())
}

prop_compose! {
    /// Milliseconds from 1970-01-02 to the year 9999, written at some offset from UTC.
    fn scheduled_time()(millis in 86_400_000_i64..253_370_764_800_000, hours in -23_i8..=23)
        -> (String, OffsetDateTime)
    {
        let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap();
        let there = instant.to_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
        let (year, month, day) = there.to_calendar_date();
        let (hour, minute, second, millis) = there.to_hms_milli();
        let text = format!(
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}{}{:02}:00",
            u8::from(month), if hours < 0 { '-' } else { '+' }, hours.abs(),
        );
        (text, instant)
    }
}

prop_compose! {
    fn fire()(
        (trigger_id, user_id, agent_id) in (id(), id(), id()),
        prompt in free_text().prop_filter("not blank", |prompt| !prompt.trim().is_empty()),
        session_id in option::of("[!-~]{33,256}"),
        (model_id, working_directory, reasoning_effort) in
            (option::of(free_text()), option::of(free_text()), option::of(free_text())),
        enabled_tools in option::of(vec(free_text(), 0..5)),
        input in input(),
        scheduled_time in option::of(scheduled_time()),
        rerun_if_interrupted in any::<bool>(),
        accept_finish_reasons in option::of(subsequence(ACCEPTABLE.to_vec(), 0..=ACCEPTABLE.len())),
        (event_id, source) in (option::of(free_text()), option::of(free_text())),
    ) -> Fire {
        Fire {
            trigger_id: trigger_id.into(), user_id: user_id.into(),
            task: Task {
                agent_id, prompt, session_id, model_id, working_directory, enabled_tools,
                reasoning_effort, input, rerun_if_interrupted, accept_finish_reasons,
            },
            trigger: None,
            event_id, source,
            origin: scheduled_time
                .map_or(Origin::Request { dispatcher: None }, |(text, instant)| Origin::Schedule { text, instant }),
            event_source_id: None, detail_type: None, event_time: None, chain_depth: 0, replay_of: None,
            waiting: None,
            replayed_definition: None,
            is_stored: false,
        }
    }
}

/// The event that says `fire`; what it does not say is absent, or null.
fn event_of(fire: &Fire, is_null: bool) -> Value {
    let event = json!({
        "detail-type": "Scheduled Event", "id": fire.event_id, "source": fire.source,
        "detail": {
            "triggerId": fire.trigger_id, "userId": fire.user_id, "agentId": fire.task.agent_id, "prompt": fire.task.prompt,
            "sessionId": fire.task.session_id, "modelId": fire.task.model_id, "workingDirectory": fire.task.working_directory,
            "enabledTools": fire.task.enabled_tools, "reasoningEffort": fire.task.reasoning_effort,
            "scheduledTime": if let Origin::Schedule { text, .. } = &fire.origin { Some(text) } else { None },
            "onInterrupted": fire.task.rerun_if_interrupted.then_some("rerun"),
            "acceptFinishReasons": fire.task.accept_finish_reasons.as_ref()
                .map(|reasons| reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>()),
            "input": (!fire.task.input.is_empty()).then_some(&fire.task.input),
        },
    });
    if is_null { event } else { without_nulls(event, true) }
}

fn without_nulls(value: Value, has_detail: bool) -> Value {
    let Value::Object(fields) = value else { return value };
    let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
    let inner = |(name, value)| {
        if has_detail && name == "detail" { (name, without_nulls(value, false)) } else { (name, value) }
    };
    Value::Object(kept.map(inner).collect())
}

/// An event as EventBridge delivers it: the id is its own, the source is one that PutEvents takes, and no member begins
/// with `_`.
fn published() -> impl Strategy<Value = Value> {
    let source = select(&["com.example", "aws.partner/example.com/7", "agent-trigger", "agent.trigger", "Aws.x"][..]);
    (prop_oneof![event_of_anything(), bus_event_of_anything()], source, any::<u128>()).prop_map(
        |(mut event, source, id)| {
            let envelope = event.as_object_mut().unwrap();
            envelope.retain(|name, _| !name.starts_with('_'));
            envelope.insert("source".to_owned(), json!(source));
            envelope.insert("id".to_owned(), json!(uuid::Uuid::from_u128(id).to_string()));
            event
        },
    )
}

proptest! {
    #[test]
    fn what_was_published_runs_subscribers_alone(event in published(), transformer in option::of("[a-z]{1,9}")) {
        // As it is, or as a rule wraps it that gives the subscriptions another name.
        let delivered = match transformer {
            None => event,
            Some(name) => json!({"_eventSourceId": name, "_event": event}),
        };
        match parse(Some(&delivered.to_string()), Platform::AgentCore) {
            Ok(Event::Bus(event)) => {
                prop_assert_eq!(&event.target, &EventTarget::Subscribers);
                let is_an_end = matches!(event.origin, Origin::Execution { .. });
                prop_assert!(!is_an_end, "{:?}", event.origin);
                prop_assert!(event.event_source_id != "agent-trigger");
            }
            Ok(Event::Scheduled(fire)) => prop_assert!(false, "a fire of a publisher's: {fire:?}"),
            Err(error) => check(&error),
        }
    }

    #[test]
    fn arbitrary_json_gives_a_fire_or_paths(value in value()) {
        check_any(Some(&value.to_string()));
    }

    #[test]
    fn arbitrary_fields_give_a_fire_or_paths(event in event_of_anything()) {
        check_any(Some(&event.to_string()));
    }

    #[test]
    fn arbitrary_bus_events_give_checked_keys_or_paths(event in bus_event_of_anything()) {
        check_any(Some(&event.to_string()));
    }

    #[test]
    fn arbitrary_bytes_give_paths(bytes in vec(any::<u8>(), 0..200)) {
        check_any(std::str::from_utf8(&bytes).ok());
    }

    #[test]
    fn a_cut_event_gives_paths(event in event_of_anything(), at in any::<prop::sample::Index>()) {
        let text = event.to_string();
        let cut = &text[..text.floor_char_boundary(at.index(text.len()))];
        prop_assert!(parse(Some(cut), Platform::Other).is_err());
        check_any(Some(cut));
    }

    #[test]
    fn valid_events_round_trip(mut fire in fire(), is_null in any::<bool>(), stored in option::of(any::<bool>()), platform in prop_oneof![Just(Platform::Other), Just(Platform::AgentCore)]) {
        let mut event = event_of(&fire, is_null);
        if let Some(stored) = stored {
            event["detail"]["stored"] = json!(stored);
        }
        if stored == Some(true) {
            fire = Fire { is_stored: true, task: Task::unknown(), ..fire };
        }
        let event = event.to_string();
        prop_assert_eq!(parse(Some(&event), platform), Ok(Event::Scheduled(Box::new(fire))));
    }

    #[test]
    fn each_bad_field_adds_its_path(fire in fire(), bad in prop::collection::btree_set(select(read_fields()), 1..12)) {
        let mut event = event_of(&fire, false);
        for name in &bad {
            event["detail"][*name] = json!(7);
        }
        let error = parse(Some(&event.to_string()), Platform::Other).unwrap_err();
        let mut paths: Vec<_> = error.problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
        paths.sort_unstable();
        let expected: Vec<_> = bad.iter().map(|name| format!("$.detail.{name}")).collect();
        prop_assert_eq!(paths, expected);
    }
}

#[test]
fn deep_nesting_gives_a_path() {
    for (open, close) in [("[", "]"), ("{\"detail\":", "}")] {
        let payload = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        check(&parse(Some(&payload), Platform::Other).unwrap_err());
    }
}

#[test]
fn what_is_not_utf_8_gives_a_path() {
    check(&parse(None, Platform::Other).unwrap_err());
}
