//! Decides what an event may claim. Whoever may put events on a bus writes nearly all of an event. So a run in
//! another's name must rest on what a publisher cannot choose: an `aws.` source, which PutEvents refuses; the `id` that
//! EventBridge gives; and the members that begin with `_`, which EventBridge delivers only where a rule's input
//! transformer writes them (docs/triggers.md, Who is believed).

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    events::invalid::InvalidEvent,
    json::{
        fields::{Fields, kind},
        scan::RawJson,
    },
};

/// The `source` of the function's own events (docs/triggers.md, Chains).
pub(crate) const OWN_SOURCE: &str = "agent-trigger";
/// The `detail-type` of a schedule's fire, and of the events that EventBridge's own scheduled rules send.
pub(crate) const SCHEDULED_EVENT: &str = "Scheduled Event";
/// The mark that says where an event came from.
pub(crate) const FROM: &str = "_from";
/// The event that a mark is about. A transformer can use an event only as a value, never add to it.
pub(crate) const WRAPPED: &str = "_event";
/// A message of a queue or topic that is no event, as text.
pub(crate) const MESSAGE: &str = "_message";
/// The id of the message in which an event came. It is the same each time the message is delivered.
pub(crate) const MESSAGE_ID: &str = "_messageId";
/// The name that triggers subscribe to, where a transformer gives one.
pub(crate) const EVENT_SOURCE_ID: &str = "_eventSourceId";
/// The trigger to which the function hands an event on.
pub(crate) const DISPATCH: &str = "_dispatch";
/// The trigger for which whoever may invoke the function means an event. Unlike [`DISPATCH`], its filters are asked.
pub(crate) const ADDRESS: &str = "_address";
/// The members of a fire's detail that are required. One of them is enough to distinguish a fire from the event of a
/// scheduled rule, whose detail is empty.
const FIRE_MEMBERS: [&str; 4] = ["triggerId", "userId", "agentId", "prompt"];

/// The place from which an event came, as far as its mark says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Provenance {
    /// A schedule, a bus or a caller: nothing says which.
    #[default]
    Unmarked,
    /// The stack's own bus.
    StackBus,
    /// A message of a queue or a topic: whoever may send one wrote all of it.
    Queue,
    /// The stack's bus of reports, on which agents may put events.
    ReportBus,
}

impl Provenance {
    /// Returns the value of `_from` that says so, or `None` for an event without a mark.
    pub(crate) fn mark(self) -> Option<&'static str> {
        match self {
            Self::Unmarked => None,
            Self::StackBus => Some("stack-bus"),
            Self::Queue => Some("queue"),
            Self::ReportBus => Some("report-bus"),
        }
    }

    /// Returns the provenance that a value of `_from` says, or `None` if it is none of their marks.
    fn of_mark(from: &Value) -> Option<Self> {
        let from = from.as_str()?;
        [Self::StackBus, Self::Queue, Self::ReportBus].into_iter().find(|known| known.mark() == Some(from))
    }
}

/// An event without its marks.
#[derive(Debug)]
pub(crate) struct MarkedEvent {
    /// The event as it was published.
    pub(crate) envelope: Map<String, Value>,
    pub(crate) provenance: Provenance,
    /// `_eventSourceId`.
    pub(crate) event_source_id: Option<Value>,
    /// `_dispatch`.
    pub(crate) dispatch: Option<Value>,
    /// `_address`.
    pub(crate) address: Option<Value>,
    /// `_messageId`, if it is an id.
    pub(crate) message_id: Option<String>,
    /// True if any member began with `_`.
    is_marked: bool,
    /// True if the event stood in `_event`.
    pub(crate) is_wrapped: bool,
}

impl MarkedEvent {
    /// Takes the marks off a payload: the members that begin with `_`. What is left is the event, unless it stands in
    /// `_event`: then the other members of the payload are dropped, and within the event members that begin with `_`
    /// are dropped and not believed. Unknown marks are dropped, but count as marks. A `_messageId` that is no id counts
    /// as absent.
    ///
    /// # Errors
    /// Returns an error for a payload with `_message`, which is a message that is no event. Names an unknown `_from`,
    /// and an `_event` that is no object.
    pub(crate) fn read(payload: Map<String, Value>) -> Result<Self, InvalidEvent> {
        let (mut marks, mut envelope) = split(payload);
        if marks.contains_key(MESSAGE) {
            let problem = "$: a message that is neither an EventBridge event nor a report of Lambda's on-failure \
                           destination";
            return Err(InvalidEvent::new(vec![problem.to_owned()]));
        }
        let mut problems = Vec::new();
        let provenance = match marks.get(FROM) {
            None => Provenance::Unmarked,
            Some(from) => Provenance::of_mark(from).unwrap_or_else(|| {
                problems.push(format!("$.{FROM}: must be \"stack-bus\", \"queue\" or \"report-bus\""));
                Provenance::Unmarked
            }),
        };
        let (is_marked, is_wrapped) = (!marks.is_empty(), marks.contains_key(WRAPPED));
        match marks.remove(WRAPPED) {
            None => {}
            // Inside, members that begin with `_` are the publisher's: they are taken away and not believed.
            Some(Value::Object(event)) => envelope = split(event).1,
            Some(other) => problems.push(format!("$.{WRAPPED}: must be an object, not {}", kind(&other))),
        }
        if !problems.is_empty() {
            return Err(InvalidEvent::new(problems));
        }
        let message_id = Fields::new("$", &marks).id(MESSAGE_ID);
        let (event_source_id, dispatch) = (marks.remove(EVENT_SOURCE_ID), marks.remove(DISPATCH));
        let address = marks.remove(ADDRESS);
        Ok(Self { envelope, provenance, event_source_id, dispatch, address, message_id, is_marked, is_wrapped })
    }

    /// Returns the text of the event as it was published: that of `_event` within `payload` if the event stands there,
    /// and otherwise `payload` itself, its marks included. `payload` must be the text from which this was read.
    pub(crate) fn text_in<'a>(&self, payload: &'a str) -> &'a str {
        let wrapped = self.is_wrapped.then(|| RawJson::whole(payload.trim().as_bytes()).get(WRAPPED)).flatten();
        wrapped.and_then(|event| std::str::from_utf8(event.raw()).ok()).unwrap_or(payload)
    }

    /// Returns true if the event may be read as a schedule's fire, which says itself what to run and as whom. All of
    /// these must be so:
    ///
    /// - Its `detail-type` is `Scheduled Event`.
    /// - It was neither handed on nor addressed, and came from no queue and not from the bus of reports.
    /// - Its source is one that only AWS may use (`aws.`, but not `aws.partner/`) and its detail has a member of a
    ///   fire. Or else it has no mark and no UUID as its `id`: no bus has delivered it, so its sender may invoke the
    ///   function and needs no such trick.
    pub(crate) fn is_fire(&self) -> bool {
        let is_for_one = self.dispatch.is_some() || self.address.is_some();
        if self.text("detail-type") != Some(SCHEDULED_EVENT) || is_for_one {
            return false;
        }
        let source = self.text("source").unwrap_or_default();
        let is_of_aws = source.starts_with("aws.") && !source.starts_with("aws.partner/");
        match self.provenance {
            Provenance::Queue | Provenance::ReportBus => false,
            _ if is_of_aws && self.names_a_fire() => true,
            _ => !self.has_bus_id() && !self.is_marked,
        }
    }

    /// Returns true if the event has the `detail-type` and a member of a schedule's fire, but [`MarkedEvent::is_fire`]
    /// does not accept it. It is then treated like any other event, and may have subscribers.
    pub(crate) fn resembles_fire(&self) -> bool {
        self.text("detail-type") == Some(SCHEDULED_EVENT) && self.names_a_fire() && !self.is_fire()
    }

    /// Checks that an event whose source is the function's own bears the mark of the stack's bus. Any other event
    /// passes.
    ///
    /// # Errors
    /// Returns an error if the source is the function's own and the mark is missing.
    pub(crate) fn check_claim(&self) -> Result<(), InvalidEvent> {
        if self.text("source") != Some(OWN_SOURCE) || self.provenance == Provenance::StackBus {
            return Ok(());
        }
        let problem = "$.source: is the function's own, which is believed only from the stack's own bus; whoever invokes \
                       the function directly adds \"_from\": \"stack-bus\"";
        Err(InvalidEvent::new(vec![problem.to_owned()]))
    }

    /// Returns true if the `id` is a UUID, as EventBridge gives one to each event on a bus.
    fn has_bus_id(&self) -> bool {
        self.text("id").is_some_and(|id| Uuid::parse_str(id).is_ok())
    }

    /// Returns true if the detail is an object with at least one of [`FIRE_MEMBERS`] that is not null.
    fn names_a_fire(&self) -> bool {
        let detail = self.envelope.get("detail").and_then(Value::as_object);
        detail.is_some_and(|detail| FIRE_MEMBERS.iter().any(|name| detail.get(*name).is_some_and(|v| !v.is_null())))
    }

    /// Returns a member of the envelope that is a text, or `None`.
    fn text(&self, name: &str) -> Option<&str> {
        self.envelope.get(name)?.as_str()
    }
}

/// Separates the members that begin with `_`, which are returned first, from the others.
fn split(payload: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    payload.into_iter().partition(|(name, _)| name.starts_with('_'))
}

/// Reads the name that triggers subscribe to: `given`, the `_eventSourceId`, or else the source with hyphens for dots.
/// It must be an id, because it becomes part of a key. The name `agent-trigger` is for the stack's own events alone
/// (`is_own`). Otherwise the source `agent.trigger` would reach the triggers that follow executions. Returns the name,
/// and `problems` with further ones added. If there is a problem, the name must not be used. A source whose problem is
/// known already (`has_source_problem`) is not reported twice.
pub(crate) fn event_source_id(
    given: Option<Value>,
    source: Option<&str>,
    is_own: bool,
    problems: Vec<String>,
    has_source_problem: bool,
) -> (Option<String>, Vec<String>) {
    // Both go through the same checks, because the name becomes part of a key.
    let (name, value) = match given {
        Some(given) => (EVENT_SOURCE_ID, Some(given)),
        None => ("source", source.map(|source| Value::from(source.replace('.', "-")))),
    };
    if value.is_none() && has_source_problem {
        return (None, problems);
    }
    let named = Map::from_iter(value.map(|value| (name.to_owned(), value)));
    let mut fields = Fields { problems, ..Fields::new("$", &named) };
    let id = fields.id(name);
    if id.as_deref() == Some(OWN_SOURCE) && !is_own {
        fields.problem(name, "would reach the triggers that follow executions, which only the stack's own events may");
    }
    (id, fields.problems)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "6a7e8feb-b491-4cf7-a9f1-bf3703467718";

    fn read(payload: Value) -> Result<MarkedEvent, Vec<String>> {
        let Value::Object(payload) = payload else { unreachable!() };
        MarkedEvent::read(payload).map_err(|error| error.problems)
    }

    #[test]
    fn a_fire_is_what_no_publisher_can_have_made() {
        let full = json!({"triggerId": "t", "userId": "u", "agentId": "a", "prompt": "p"});
        let nothing = json!({});
        for (source, id, detail, marks, is_fire, resembles) in [
            // (a) a source that PutEvents refuses, and a detail that names a trigger.
            (json!("aws.scheduler"), json!(ID), &full, json!({}), true, false),
            (json!("aws.events"), json!(ID), &full, json!({}), true, false),
            (json!("aws.scheduler"), json!(ID), &full, json!({"_eventSourceId": "x"}), true, false),
            (json!("aws.scheduler"), json!(ID), &json!({"triggerId": 7}), json!({}), true, false),
            (json!("aws.events"), json!(ID), &nothing, json!({}), false, false),
            (json!("aws.events"), json!(ID), &json!({"triggerId": null}), json!({}), false, false),
            (json!("aws.partner/example.com/1"), json!(ID), &full, json!({}), false, true),
            (json!("aws"), json!(ID), &full, json!({}), false, true),
            (json!("awsx.scheduler"), json!(ID), &full, json!({}), false, true),
            (json!("AWS.scheduler"), json!(ID), &full, json!({}), false, true),
            // (b) an id that EventBridge has not given, and no mark.
            (Value::Null, Value::Null, &full, json!({}), true, false),
            (json!("agentcore.trigger"), json!("trigger-1"), &full, json!({}), true, false),
            (json!("com.example.orders"), Value::Null, &nothing, json!({}), true, false),
            (json!("aws.partner/example.com/1"), Value::Null, &full, json!({}), true, false),
            (json!("com.example.orders"), json!("1"), &full, json!({"_eventSourceId": "x"}), false, true),
            (json!("com.example.orders"), Value::Null, &full, json!({"_from": "stack-bus"}), false, true),
            (json!("com.example.orders"), Value::Null, &full, json!({"_unknown": 1}), false, true),
            // Everything else came over a bus.
            (json!("com.example.orders"), json!(ID), &full, json!({}), false, true),
            (json!("com.example.orders"), json!(ID.to_uppercase()), &full, json!({}), false, true),
            (json!("com.example.orders"), json!(ID.replace('-', "")), &full, json!({}), false, true),
            (json!("com.example.orders"), json!(ID), &nothing, json!({}), false, false),
            // The sender of a message wrote all of it. What is handed on was read as a bus event before.
            (json!("aws.scheduler"), Value::Null, &full, json!({"_from": "queue"}), false, true),
            (json!("aws.scheduler"), json!(ID), &full, json!({"_dispatch": {}}), false, true),
            (json!("aws.scheduler"), json!(ID), &full, json!({"_address": {}}), false, true),
        ] {
            let event = json!({"detail-type": SCHEDULED_EVENT, "source": source, "id": id, "detail": detail});
            let wrapped = json!({"_event": event});
            let (mut flat, mut around) = (event.clone(), wrapped);
            for (name, value) in marks.as_object().unwrap() {
                flat[name] = value.clone();
                around[name] = value.clone();
            }
            let read_flat = read(flat.clone()).unwrap();
            assert_eq!((read_flat.is_fire(), read_flat.resembles_fire()), (is_fire, resembles), "{flat}");
            assert_eq!(Value::Object(read_flat.envelope), event);
            // A wrapped one is marked, so it is a fire only for its source.
            let of_aws = is_fire && source.as_str().is_some_and(|s| s.starts_with("aws.") && !s.contains('/'));
            assert_eq!(read(around).unwrap().is_fire(), of_aws, "{flat}");
        }
    }

    #[test]
    fn marks_inside_a_wrapped_event_are_the_publishers() {
        let inner = json!({"_from": "stack-bus", "_dispatch": {"triggerId": "t"}, "_address": {"triggerId": "t"}, "_eventSourceId": "x", "_event": {},
            "source": "agent-trigger", "detail": {"_id": 1}});
        let event = read(json!({"_event": inner, "_eventSourceId": "uploads", "left": "out"})).unwrap();
        assert_eq!(Value::Object(event.envelope.clone()), json!({"source": "agent-trigger", "detail": {"_id": 1}}));
        assert_eq!((event.provenance, &event.dispatch, &event.address), (Provenance::Unmarked, &None, &None));
        assert_eq!(event.event_source_id, Some(json!("uploads")));
        assert!(event.check_claim().is_err());
    }

    #[test]
    fn the_functions_own_source_needs_the_mark_of_the_stacks_bus() {
        let own = json!({"source": "agent-trigger", "detail-type": "anything"});
        for (payload, is_believed) in [
            (own.clone(), false),
            (json!({"_event": own}), false),
            (json!({"_from": "queue", "_event": own}), false),
            (json!({"_from": "stack-bus", "_event": own}), true),
            (json!({"_from": "stack-bus", "source": "agent-trigger"}), true),
            (json!({"source": "Agent-Trigger"}), true),
            (json!({"source": 7}), true),
        ] {
            assert_eq!(read(payload.clone()).unwrap().check_claim().is_ok(), is_believed, "{payload}");
        }
    }

    #[test]
    fn a_mark_that_is_not_understood_is_a_problem() {
        for (payload, path) in [
            (json!({"_from": "bus"}), "$._from"),
            (json!({"_from": null}), "$._from"),
            (json!({"_event": []}), "$._event"),
            (json!({"_message": "hello"}), "$"),
        ] {
            let problems = read(payload.clone()).unwrap_err();
            assert_eq!(problems[0].split(": ").next(), Some(path), "{payload}");
        }
    }

    #[test]
    fn only_the_stacks_own_events_reach_those_who_follow_executions() {
        for (given, source, is_own, expected) in [
            (None, "aws.s3", false, Ok("aws-s3")),
            (Some("uploads"), "aws.s3", false, Ok("uploads")),
            (None, "agent-trigger", true, Ok("agent-trigger")),
            (None, "agent.trigger", false, Err("$.source")),
            (Some("agent-trigger"), "com.example", false, Err("$._eventSourceId")),
            (Some(""), "com.example", false, Err("$._eventSourceId")),
        ] {
            let (id, problems) = event_source_id(given.map(Value::from), Some(source), is_own, Vec::new(), false);
            match expected {
                Ok(expected) => assert_eq!((id.as_deref(), problems), (Some(expected), Vec::new())),
                Err(path) => assert_eq!(problems[0].split(": ").next(), Some(path)),
            }
        }
    }
}
