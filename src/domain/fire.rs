//! Fires and their identity: the same fire always computes the same execution id.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

use crate::domain::{
    ids::{ExecutionId, TriggerId, UserId},
    task::Task,
    trigger_snapshot::TriggerSnapshot,
};

/// One moment a trigger is due: what to run, for whom, and what identifies it. It has no default: a new field does not
/// compile until every reader handles it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// The trigger that fires.
    pub trigger_id: TriggerId,
    /// The user the agent acts for.
    pub user_id: UserId,
    /// What the agent is asked to do.
    pub task: Task,
    /// The trigger item as it was read, where there is one.
    pub trigger: Option<Box<TriggerSnapshot>>,
    /// What fired.
    pub origin: Origin,
    /// The envelope's `id`.
    pub event_id: Option<String>,
    /// The envelope's `source`.
    pub source: Option<String>,
    /// The name that triggers subscribe to, if a bus event fired.
    pub event_source_id: Option<String>,
    /// The envelope's `detail-type`, if a bus event fired.
    pub detail_type: Option<String>,
    /// The envelope's `time`, if a bus event fired.
    pub event_time: Option<String>,
    /// How many executions led to this one.
    pub chain_depth: u32,
    /// The execution that is run once more.
    pub replay_of: Option<ExecutionId>,
}

/// What fired: what two deliveries of the same fire have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A schedule time: as the event spells it, and the instant it names.
    Schedule {
        /// As the event spells it.
        text: String,
        /// `Z` and `+00:00` are the same.
        instant: OffsetDateTime,
    },
    /// A bus event.
    Event {
        /// The envelope's id.
        id: Uuid,
        /// The envelope's time.
        time: OffsetDateTime,
        /// What an archive's replay adds, so that it runs.
        replay_name: Option<String>,
    },
    /// The end of another execution.
    Execution {
        /// Its id.
        id: ExecutionId,
        /// When it ended.
        completed_at: OffsetDateTime,
    },
    /// Nothing but the Lambda request: its own, or that of the invocation which dispatched it.
    Request {
        /// The request that dispatched it.
        dispatcher: Option<String>,
    },
}

/// What an execution id is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The trigger at one schedule time, as an instant: `Z` and `+00:00` are the same.
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
        /// When it ended.
        completed_at: OffsetDateTime,
    },
    /// The trigger in one Lambda request, which Lambda's own retries share. The time is that of the first claim.
    Request {
        /// Lambda's request id.
        request_id: &'a str,
        /// When the fire was first claimed.
        first_claim: OffsetDateTime,
    },
}

/// The execution id of a fire: a UUIDv7 of its time in milliseconds, the other 74 bits from SHA-256 of its identity, so
/// that ids sort by time and the same fire always has the same one.
///
/// Hashed are, joined by NUL, which no id may contain: `scheduled`, the trigger id and the instant in nanoseconds since
/// 1970 as decimal digits; or `event`, the trigger id, the event's id as a UUID is written, and the name of the replay if
/// it is one; or `execution`, the trigger id and the id of the execution that is followed; or `request`, the trigger id
/// and the Lambda request id. Changing a byte of this would run a fire twice whose deliveries straddle the change: the
/// test below pins it.
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

/// The bits of an identity alone: the same for each delivery of a fire, even where the time is not known.
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

/// The agent session of an execution whose event names none: 33 alphanumeric characters, AgentCore's minimum and the
/// exact length some agents insist on.
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

    /// Computed independently with Python's hashlib: see the doc comment for the bytes.
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
