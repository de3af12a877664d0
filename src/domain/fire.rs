//! Fires and their identity. The same fire always has the same execution id, which is computed from it.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

use crate::domain::{
    ids::{ExecutionId, TriggerId, UserId},
    task::Task,
    trigger_snapshot::TriggerSnapshot,
    waiting_task::WaitingTask,
};

/// One moment at which a trigger is due: its task, its user, and its identity. It has no default, so that a new field
/// does not compile until every reader handles it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// The trigger that fires.
    pub trigger_id: TriggerId,
    /// The user for whom the agent acts.
    pub user_id: UserId,
    /// The task that the agent gets.
    pub task: Task,
    /// True if the trigger item alone says what to run (`stored: true`). The task is unknown until the item is read.
    pub is_stored: bool,
    /// The trigger item as it was read, if it has been read.
    pub trigger: Option<Box<TriggerSnapshot>>,
    /// The cause of the fire.
    pub origin: Origin,
    /// The envelope's `id`.
    pub event_id: Option<String>,
    /// The envelope's `source`.
    pub source: Option<String>,
    /// The source to which triggers subscribe, if a bus event fired.
    pub event_source_id: Option<String>,
    /// The envelope's `detail-type`, if a bus event fired.
    pub detail_type: Option<String>,
    /// The envelope's `time`, if a bus event fired.
    pub event_time: Option<String>,
    /// The number of executions in the chain that led to this one.
    pub chain_depth: u32,
    /// The execution that is run again, if this is a replay.
    pub replay_of: Option<ExecutionId>,
    /// The task of Step Functions that waits for the execution.
    pub waiting: Option<WaitingTask>,
    /// The hash of the agent's definition that the replayed execution used, if its input says so.
    pub replayed_definition: Option<String>,
}

/// The cause of a fire: the part that two deliveries of the same fire have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The time of a schedule.
    Schedule {
        /// The time as the event spells it.
        text: String,
        /// The instant, for which `Z` and `+00:00` are the same.
        instant: OffsetDateTime,
    },
    /// A bus event.
    Event {
        /// The envelope's id.
        id: Uuid,
        /// The envelope's time.
        time: OffsetDateTime,
        /// The name that EventBridge adds when it replays an archive, so that the replayed event runs again.
        replay_name: Option<String>,
    },
    /// The end of another execution.
    Execution {
        /// Its id.
        id: ExecutionId,
        /// The time at which it ended.
        completed_at: OffsetDateTime,
    },
    /// The Lambda request alone: that of this invocation, or of the invocation that handed the event on; or the message
    /// in which the event came.
    Request {
        /// The request of the invocation that handed the event on, or the message.
        dispatcher: Option<String>,
    },
}

/// The identity of a fire, from which its execution id is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The trigger at one time of its schedule, as an instant, for which `Z` and `+00:00` are the same.
    Scheduled(OffsetDateTime),
    /// The trigger and one bus event.
    Event {
        /// The envelope's id.
        id: Uuid,
        /// The envelope's time.
        time: OffsetDateTime,
        /// The name of the archive's replay.
        replay_name: Option<&'a str>,
    },
    /// The trigger and the execution it follows.
    Execution {
        /// Its id.
        id: &'a str,
        /// The time at which it ended.
        completed_at: OffsetDateTime,
    },
    /// The trigger and one Lambda request, which Lambda's own retries share.
    Request {
        /// Lambda's request id.
        request_id: &'a str,
        /// The time at which the fire was first claimed.
        first_claim: OffsetDateTime,
    },
}

/// Returns the execution id of a fire. It is a UUIDv7 of the fire's time in milliseconds, and its other 74 bits are
/// taken from the SHA-256 hash of the identity. So ids sort by time, and the same fire has the same id. A `Request` has
/// it only with the same `first_claim`, so the caller must remember the first id. A time before 1970 counts as 1970.
///
/// These parts are hashed, joined by NUL, which no id may contain:
///
/// - `scheduled`, the trigger id, and the instant in nanoseconds since 1970 as decimal digits;
/// - `event`, the trigger id, the event's id in the notation of a UUID, and the name of the replay if there is one;
/// - `execution`, the trigger id, and the id of the execution that is followed;
/// - `request`, the trigger id, and the Lambda request id, or that of the message in which the event came.
///
/// If a byte of this changed, a fire whose deliveries straddle the change would run twice. The test below pins it.
pub fn execution_id(trigger_id: &str, identity: Identity<'_>) -> Uuid {
    let time = match identity {
        Identity::Scheduled(time)
        | Identity::Event { time, .. }
        | Identity::Execution { completed_at: time, .. }
        | Identity::Request { first_claim: time, .. } => time,
    };
    let millis = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &identity_bits(trigger_id, identity)).into_uuid()
}

/// Returns the first ten bytes of the SHA-256 hash of an identity, see [`execution_id`]. The instant of a schedule is
/// hashed, and no other time is. So the bytes are the same for each delivery of a fire, even if that time is not known.
/// The id takes 74 of their 80 bits.
pub(crate) fn identity_bits(trigger_id: &str, identity: Identity<'_>) -> [u8; 10] {
    let hashed = match identity {
        Identity::Scheduled(instant) => format!("scheduled\0{trigger_id}\0{}", instant.unix_timestamp_nanos()),
        Identity::Event { id, replay_name: None, .. } => format!("event\0{trigger_id}\0{id}"),
        Identity::Event { id, replay_name: Some(replay), .. } => format!("event\0{trigger_id}\0{id}\0{replay}"),
        Identity::Execution { id, .. } => format!("execution\0{trigger_id}\0{id}"),
        Identity::Request { request_id, .. } => format!("request\0{trigger_id}\0{request_id}"),
    };
    let mut bits = [0; 10];
    bits.copy_from_slice(&Sha256::digest(hashed)[..10]);
    bits
}

/// Returns the agent session of an execution whose event names none: `s` and the id's 32 hexadecimal digits. These 33
/// characters are AgentCore's minimum and the exact length that some agents require.
pub fn session_id(execution_id: &Uuid) -> String {
    format!("s{}", execution_id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    const EVENT_ID: Uuid = Uuid::from_u128(0x6a7e_8feb_b491_4cf7_a9f1_bf37_0346_7718);

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    /// The expected ids were computed independently with Python's hashlib, from the bytes in the doc comment.
    #[test]
    fn ids_are_pinned() {
        for (trigger_id, identity, expected) in [
            ("trigger-123", Identity::Scheduled(at("2026-01-31T07:00:00Z")), "019c12d9-f580-75ef-abe2-ba7fe30c8726"),
            (
                "trigger-123",
                Identity::Scheduled(at("2026-01-31T07:00:00.000000001Z")),
                "019c12d9-f580-7ecf-ad82-16beecd72d75",
            ),
            ("täglich#1", Identity::Scheduled(at("1970-01-01T00:00:00Z")), "00000000-0000-778f-88e3-b765b88e9588"),
            (
                "trigger-123",
                Identity::Request {
                    request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                    first_claim: at("2026-01-31T07:00:00.123Z"),
                },
                "019c12d9-f5fb-7341-a8a6-b5f1eb369008",
            ),
            (
                "trigger-123",
                Identity::Event { id: EVENT_ID, time: at("2026-01-31T07:00:00Z"), replay_name: None },
                "019c12d9-f580-7331-8cd2-d5bd7288deb9",
            ),
            (
                "trigger-123",
                Identity::Event { id: EVENT_ID, time: at("2026-01-31T07:00:00Z"), replay_name: Some("again") },
                "019c12d9-f580-7649-82fb-aad573e743bb",
            ),
            (
                "trigger-123",
                Identity::Execution {
                    id: "019c12d9-f580-75ef-abe2-ba7fe30c8726",
                    completed_at: at("2026-01-31T07:00:00Z"),
                },
                "019c12d9-f580-7372-8823-16b3fcf61692",
            ),
        ] {
            assert_eq!(execution_id(trigger_id, identity).to_string(), expected);
        }
    }

    #[test]
    fn an_instant_is_the_same_in_every_notation() {
        let utc = execution_id("t", Identity::Scheduled(at("2026-01-31T07:00:00Z")));
        for text in ["2026-01-31T07:00:00+00:00", "2026-01-31T08:00:00.000+01:00", "2026-01-30T23:00:00-08:00"] {
            assert_eq!(execution_id("t", Identity::Scheduled(at(text))), utc, "{text}");
        }
        assert_ne!(execution_id("u", Identity::Scheduled(at("2026-01-31T07:00:00Z"))), utc);
    }

    #[test]
    fn session_ids_are_33_alphanumeric_characters() {
        let id = session_id(&execution_id("t", Identity::Scheduled(at("2026-01-31T07:00:00Z"))));
        assert_eq!(id.len(), 33);
        assert!(id.chars().all(|char| char.is_ascii_alphanumeric()));
    }
}
