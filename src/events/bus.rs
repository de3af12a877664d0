//! Bus events: the events that EventBridge delivers besides scheduled fires, and that the function hands on to itself.
//! <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use std::mem;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    clock::millis_of,
    domain::{
        execution::Status,
        fire::{Fire, Origin},
        ids::{TriggerId, UserId},
        task::Task,
        waiting_task::WaitingTask,
    },
    events::{
        classify::{
            ADDRESS, DISPATCH, EVENT_SOURCE_ID, FROM, MarkedEvent, OWN_SOURCE, Provenance, WRAPPED, event_source_id,
        },
        command::OwnEvent,
        invalid::InvalidEvent,
        target::EventTarget,
    },
    json::{
        fields::{Fields, kind},
        surrogate,
    },
};

/// The member of a dispatch to a trigger whose filters cost too much on the event.
const TOO_COSTLY: &str = "tooCostly";

/// An event for the triggers that are subscribed to it.
#[derive(Debug, Clone, PartialEq)]
pub struct BusEvent {
    /// The event as it was published. Patterns, conditions and queries see it in this form.
    pub event: Value,
    /// The source to which triggers subscribe: `_eventSourceId`, or otherwise the source with hyphens instead of dots.
    pub event_source_id: String,
    /// The triggers for which the event is meant.
    pub target: EventTarget,
    /// The part that all deliveries of the event have in common.
    pub origin: Origin,
    /// The number of executions in the chain before the one whose end the event announces. It is 0 for any other event.
    pub chain_depth: u32,
    /// The task of Step Functions that waits for the run that the event commands.
    pub waiting: Option<WaitingTask>,
    /// The place from which it came.
    pub provenance: Provenance,
    /// True if it looks like a schedule's fire and is not believed to be one.
    pub resembles_fire: bool,
    /// True if it was handed on to a trigger whose filters cost too much on it.
    pub is_too_costly: bool,
    /// Its text as it was published. Numbers and escapes are spelt as the publisher wrote them, which the parsed value
    /// loses.
    published: Box<str>,
    is_wrapped: bool,
}

impl BusEvent {
    /// Reads an event whose `detail-type` is a text. `payload` is the text from which `marked` was read.
    ///
    /// The target is the first of these that there is: that of the mark of an event that was handed on, that of the
    /// mark of one that is addressed, that of a command, and otherwise all subscribers. The origin is the execution
    /// whose end the event announces, or else the waiting task, or else the envelope's `id` and `time`, if they are a
    /// UUID and a time from 1970 on. An event without these is identified by the dispatcher's request or its message,
    /// or by the Lambda request. Only a command `Run Trigger` may have a task token, which is taken out of the event.
    ///
    /// # Errors
    /// The error names every unusable member by its JSON path at once. An unusable `id`, `time` or `replay-name` that
    /// is a short text is no problem.
    pub(crate) fn read(marked: MarkedEvent, payload: &str) -> Result<Self, InvalidEvent> {
        let published: Box<str> = marked.text_in(payload).into();
        let resembles_fire = marked.resembles_fire();
        let MarkedEvent { mut envelope, provenance, dispatch, address, message_id, is_wrapped, .. } = marked;
        let given_source_id = marked.event_source_id;
        let mut fields = Fields::new("$", &envelope);
        let source = fields.short_text("source");
        let detail_type = fields.short_text("detail-type");
        let id = fields.short_text("id");
        let replay_name = fields.short_text("replay-name");
        let time = fields.short_text("time").and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
        let time = time.filter(|time| time.unix_timestamp() >= 0);
        let problems = fields.problems;
        let has_source_problem = source.is_none() && envelope.get("source").is_some_and(|source| !source.is_null());
        let is_own = source.as_deref() == Some(OWN_SOURCE);
        let (event_source_id, mut problems) =
            event_source_id(given_source_id, source.as_deref(), is_own, problems, has_source_problem);
        let own_type = detail_type.filter(|_| is_own);
        let own = OwnEvent::read(own_type.as_deref(), envelope.get("detail"), &mut problems);
        let is_run = matches!(own.target, EventTarget::RunTrigger { .. });
        let waiting = is_run.then(|| WaitingTask::take(&mut envelope, &mut problems)).flatten();
        let dispatched = dispatch.and_then(|dispatch| Dispatch::read(&dispatch, &mut problems));
        let addressed = address.and_then(|address| addressed(&address, &mut problems));
        if !problems.is_empty() {
            return Err(InvalidEvent::new(problems));
        }
        let (target, dispatcher, is_too_costly) = match dispatched {
            Some(Dispatch { target, request_id, is_too_costly }) => (target, request_id, is_too_costly),
            None => (addressed.unwrap_or(own.target), message_id, false),
        };
        let by_id = || {
            let id = Uuid::parse_str(id.as_deref()?).ok()?;
            Some(Origin::Event { id, time: time?, replay_name: replay_name.clone() })
        };
        let by_task = || Some(Origin::Request { dispatcher: Some(waiting.as_ref()?.name()) });
        Ok(Self {
            origin: own.origin.or_else(by_task).or_else(by_id).unwrap_or(Origin::Request { dispatcher }),
            event_source_id: event_source_id.unwrap_or_default(),
            target,
            chain_depth: own.chain_depth,
            waiting,
            provenance,
            resembles_fire,
            is_too_costly,
            published,
            is_wrapped,
            event: Value::Object(envelope),
        })
    }

    /// Returns a member of the envelope that is a text, or `None`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.event.get(name)?.as_str()
    }

    /// Returns true if the event announces the end of an execution whose status is `skipped`.
    pub(crate) fn announces_skip(&self) -> bool {
        let status = || self.event.get("detail")?.get("status")?.as_str();
        matches!(self.origin, Origin::Execution { .. }) && status() == Some(Status::Skipped.as_str())
    }

    /// Returns an error for an event that looks like a schedule's fire and is none, because somebody may be waiting for
    /// its run. Returns `None` for any other. The caller asks only if there is no subscriber.
    pub(crate) fn unclaimed_fire(&self) -> Option<InvalidEvent> {
        let problem = match self.provenance {
            _ if !self.resembles_fire => return None,
            Provenance::Queue => "came in a message, which is not believed, and no trigger is subscribed to it",
            _ => {
                "came over a bus, which is not believed, and no trigger is subscribed to it; from Scheduler? give \
                  source aws.scheduler"
            }
        };
        Some(InvalidEvent::new(vec![format!("$.source: looks like a scheduled event but {problem}")]))
    }

    /// Returns true if a trigger of this user may learn of the event. An event of the function's own is only for the
    /// user that its detail names as `userId`. Any other event is for every user.
    pub(crate) fn is_for_user(&self, user_id: &UserId) -> bool {
        let its_user = || self.event.get("detail")?.get("userId")?.as_str();
        self.text("source") != Some(OWN_SOURCE) || its_user() == Some(user_id.as_str())
    }

    /// Returns the envelope's `time` in milliseconds since 1970 if it is an RFC 3339 time, and otherwise `None`.
    pub(crate) fn millis(&self) -> Option<i64> {
        millis_of(self.text("time")?)
    }

    /// Returns the fire of one trigger by this event, with `task`. The caller adds what only the trigger item or a
    /// replay knows. The chain is one longer than that of the execution whose end the event announces, and 0 for any
    /// other event. In the envelope's texts, half a surrogate pair, which the table cannot hold, becomes U+FFFD.
    pub(crate) fn fire(&self, trigger_id: &TriggerId, user_id: &UserId, task: Task) -> Fire {
        // What the table cannot hold becomes U+FFFD.
        let text = |name: &str| self.text(name).map(|text| surrogate::shown(text).into_owned());
        let follows = matches!(self.origin, Origin::Execution { .. });
        Fire {
            trigger_id: trigger_id.clone(),
            user_id: user_id.clone(),
            origin: self.origin.clone(),
            event_id: text("id"),
            source: text("source"),
            event_source_id: Some(self.event_source_id.clone()),
            detail_type: text("detail-type"),
            event_time: text("time"),
            chain_depth: if follows { self.chain_depth.saturating_add(1) } else { 0 },
            task,
            is_stored: false,
            trigger: None,
            replay_of: None,
            waiting: self.waiting.clone(),
            replayed_definition: None,
        }
    }

    /// Returns the payload with which the function hands the event on to itself for one trigger: the event's own text,
    /// with the marks `_from`, if it had one, `_eventSourceId`, and `_dispatch`, which names the trigger, its user and
    /// a request. `request_id` is that of this invocation. If an event without an id of its own is delivered again, the
    /// request identifies it. Such an event names the message's id instead if it came in a message, and the first
    /// request if it was handed on before. `is_too_costly` is true if the trigger's filters cost too much on the event.
    pub(crate) fn dispatched_to(
        &self,
        trigger_id: &TriggerId,
        user_id: &UserId,
        request_id: &str,
        is_too_costly: bool,
    ) -> String {
        let request_id = match &self.origin {
            Origin::Request { dispatcher: Some(first) } => first,
            _ => request_id,
        };
        let mut dispatch = json!({"triggerId": trigger_id, "userId": user_id, "requestId": request_id});
        if is_too_costly {
            dispatch[TOO_COSTLY] = json!(true);
        }
        let source_id = json!(self.event_source_id);
        let from = self.provenance.mark().map(|mark| format!(r#""{FROM}":"{mark}","#)).unwrap_or_default();
        let marks = format!(r#"{from}"{EVENT_SOURCE_ID}":{source_id},"{DISPATCH}":{dispatch}"#);
        // If a member occurs twice, the last counts. A wrapped event may hold such marks of its publisher: they stay as
        // they are.
        match self.published.trim_end().strip_suffix('}') {
            Some(open) if !self.is_wrapped => format!("{open},{marks}}}"),
            _ => format!(r#"{{{marks},"{WRAPPED}":{}}}"#, self.published),
        }
    }
}

/// The member that the function adds when it hands an event on to itself.
struct Dispatch {
    target: EventTarget,
    /// The request of the invocation that handed the event on, or the message in which the event came.
    request_id: Option<String>,
    is_too_costly: bool,
}

impl Dispatch {
    /// Reads `_dispatch`, the member that the function adds when it hands an event on. `triggerId`, `userId` and
    /// `requestId` are required, `tooCostly` is optional. A member with a problem is left empty, and the caller refuses
    /// the event. A value that is no object is a problem, and `None`.
    fn read(dispatch: &Value, problems: &mut Vec<String>) -> Option<Self> {
        let Value::Object(members) = dispatch else {
            problems.push(format!("$.{DISPATCH}: must be an object, not {}", kind(dispatch)));
            return None;
        };
        let mut fields = Fields { problems: mem::take(problems), ..Fields::new("$._dispatch", members) };
        let target = EventTarget::Dispatched {
            trigger_id: fields.id("triggerId").unwrap_or_default().into(),
            user_id: fields.id("userId").unwrap_or_default().into(),
        };
        let request_id = fields.id("requestId");
        let is_too_costly = fields.flag(TOO_COSTLY) == Some(true);
        *problems = fields.problems;
        Some(Self { target, request_id, is_too_costly })
    }
}

/// Reads `_address`, by which an event is meant for one trigger. `triggerId` and `userId` are required. A member with a
/// problem is left empty, and the caller refuses the event. A value that is no object is a problem, and `None`.
fn addressed(address: &Value, problems: &mut Vec<String>) -> Option<EventTarget> {
    let Value::Object(members) = address else {
        problems.push(format!("$.{ADDRESS}: must be an object, not {}", kind(address)));
        return None;
    };
    let mut fields = Fields { problems: mem::take(problems), ..Fields::new("$._address", members) };
    let target = EventTarget::Addressed {
        trigger_id: fields.id("triggerId").unwrap_or_default().into(),
        user_id: fields.id("userId").unwrap_or_default().into(),
    };
    *problems = fields.problems;
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::command::{CANCEL_EXECUTION, RUN_TRIGGER};

    fn read(event: Value) -> Result<BusEvent, Vec<String>> {
        let payload = event.to_string();
        let Value::Object(envelope) = event else { unreachable!() };
        MarkedEvent::read(envelope).and_then(|event| BusEvent::read(event, &payload)).map_err(|error| error.problems)
    }

    #[test]
    fn triggers_subscribe_to_the_source_unless_another_name_is_given() {
        for (given, expected) in [(Value::Null, "aws-s3"), (json!("uploads"), "uploads")] {
            let mut event = json!({"detail-type": "Object Created", "source": "aws.s3"});
            if !given.is_null() {
                event["_eventSourceId"] = given;
            }
            let event = read(event).unwrap();
            assert_eq!(event.event_source_id, expected);
            assert_eq!(event.event, json!({"detail-type": "Object Created", "source": "aws.s3"}));
        }
    }

    #[test]
    fn only_an_event_with_an_id_and_a_time_identifies_its_fires() {
        let id = "6a7e8feb-b491-4cf7-a9f1-bf3703467718";
        for (id, time, is_identified) in [
            (json!(id), json!("2026-01-31T07:00:00Z"), true),
            (json!(id), json!("yesterday"), false),
            (json!(id), json!("1969-12-31T23:59:59Z"), false),
            (json!("42"), json!("2026-01-31T07:00:00Z"), false),
            (Value::Null, Value::Null, false),
        ] {
            let event = read(json!({"detail-type": "x", "source": "y", "id": id, "time": time})).unwrap();
            assert_eq!(matches!(event.origin, Origin::Event { .. }), is_identified, "{event:?}");
        }
    }

    #[test]
    fn an_announced_end_is_identified_by_its_execution() {
        let detail = |depth: Value| {
            json!({"detail-type": "Execution Status Change", "source": "agent-trigger", "detail":
                {"executionId": "e", "completedAt": "2026-01-31T07:00:00.000Z", "chainDepth": depth}})
        };
        for (depth, expected) in [(json!(""), 1), (json!("3"), 4), (json!(3), 4), (Value::Null, 1)] {
            let event = read(detail(depth)).unwrap();
            assert!(matches!(&event.origin, Origin::Execution { id, .. } if id.as_str() == "e"));
            assert_eq!(event.fire(&"t".into(), &"u".into(), Task::unknown()).chain_depth, expected);
        }
        assert_eq!(read(detail(json!("deep"))).unwrap_err(), ["$.detail.chainDepth: must be a whole number"]);
    }

    #[test]
    fn what_is_handed_on_is_the_event_for_one_trigger() {
        for id in [json!("6a7e8feb-b491-4cf7-a9f1-bf3703467718"), json!("42")] {
            let published = json!({"detail-type": "x", "source": "y.z", "id": id, "time": "2026-01-31T07:00:00Z",
                "detail": {"a": [1, "}"]}});
            let event = read(published).unwrap();
            let once =
                read(serde_json::from_str(&event.dispatched_to(&"t\"".into(), &"u".into(), "first", false)).unwrap())
                    .unwrap();
            assert_eq!(once.target, EventTarget::Dispatched { trigger_id: "t\"".into(), user_id: "u".into() });
            assert_eq!((&once.event, &once.event_source_id), (&event.event, &event.event_source_id));
            let dispatcher = Some("first".to_owned());
            let expected = if id == "42" { Origin::Request { dispatcher } } else { event.origin.clone() };
            assert_eq!(once.origin, expected);
            // The marks of a publisher's that a rule wrapped stay inside.
            let hostile = json!({"detail-type": "x", "source": "y", "_dispatch": {"triggerId": "v"}, "_from": "queue"});
            let event = read(json!({"_from": "stack-bus", "_event": hostile})).unwrap();
            let once =
                read(serde_json::from_str(&event.dispatched_to(&"t".into(), &"u".into(), "first", false)).unwrap())
                    .unwrap();
            assert_eq!(once.target, EventTarget::Dispatched { trigger_id: "t".into(), user_id: "u".into() });
            assert_eq!((once.provenance, &once.event), (Provenance::StackBus, &event.event));
        }
    }

    fn command(kind: &str, id: &str, detail: Value) -> Result<BusEvent, Vec<String>> {
        read(json!({"_from": "stack-bus", "detail-type": kind, "source": "agent-trigger", "id": id,
            "time": "2026-01-31T07:00:00Z", "detail": detail}))
    }

    #[test]
    fn a_command_with_a_task_is_identified_by_its_token() {
        let ids = ["6a7e8feb-b491-4cf7-a9f1-bf3703467718", "6a7e8feb-b491-4cf7-a9f1-bf3703467719"];
        let run = |n: usize, token: Value| {
            command(RUN_TRIGGER, ids[n], json!({"triggerId": "t", "userId": "u", "taskToken": token}))
        };
        let one = run(0, json!("s3cret")).unwrap();
        assert_eq!(one.origin, run(1, json!("s3cret")).unwrap().origin);
        assert_ne!(one.origin, run(0, json!("other")).unwrap().origin);
        assert!(!one.event.to_string().contains("s3cret") && run(0, json!(3)).is_err());
        assert_eq!(one.fire(&"t".into(), &"u".into(), Task::unknown()).waiting.unwrap().token(), "s3cret");
    }

    #[test]
    fn a_cancellation_names_an_execution_or_a_caller() {
        let cancel = |detail: Value| command(CANCEL_EXECUTION, "1", detail).map(|event| event.target);
        let arn = "arn:aws:states:us-east-1:123456789012:execution:m:e";
        assert_eq!(cancel(json!({"caller": arn, "reason": "x"})), Ok(EventTarget::CancelCaller(arn.to_owned())));
        let ids = json!({"triggerId": "t", "executionId": "e"});
        assert!(matches!(cancel(ids), Ok(EventTarget::CancelExecution { .. })));
        for wrong in [json!({}), json!({"caller": "somebody"}), json!({"caller": 3})] {
            assert!(cancel(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_problem_of_a_command_is_named() {
        let event = json!({"detail-type": "Run Trigger", "source": "agent-trigger", "detail": {"userId": ""}});
        assert_eq!(read(event).unwrap_err(), ["$.detail.triggerId: is missing", "$.detail.userId: must not be empty"]);
    }
}
