//! Fire identity: the same fire always computes the same execution id.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// What makes two deliveries the same fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The trigger at one schedule time, as an instant: `Z` and `+00:00` are the same.
    Scheduled(OffsetDateTime),
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
/// 1970 as decimal digits; or `request`, the trigger id and the Lambda request id. Changing a byte of this would run a
/// fire twice whose deliveries straddle the change: the test below pins it.
pub fn execution_id(trigger_id: &str, identity: Identity<'_>) -> Uuid {
    let (time, hashed) = match identity {
        Identity::Scheduled(instant) => {
            (instant, format!("scheduled\0{trigger_id}\0{}", instant.unix_timestamp_nanos()))
        }
        Identity::Request { request_id, first_claim } => (first_claim, format!("request\0{trigger_id}\0{request_id}")),
    };
    let millis = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let digest = Sha256::digest(hashed);
    let mut bits = [0; 10];
    bits.copy_from_slice(&digest[..10]);
    Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
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
