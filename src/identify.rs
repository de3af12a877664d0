//! Which execution a fire is, and since when.

use uuid::Uuid;

use crate::{
    clock,
    config::Config,
    event::Fire,
    fire::{self, Identity},
    store::{Store, StoreError},
};

/// When a fire started, in the forms it is needed in.
pub(crate) struct Started {
    pub(crate) millis: i64,
    /// RFC 3339.
    pub(crate) at: String,
    /// When the record ends, seconds since 1970.
    pub(crate) ttl: i64,
}

impl Started {
    pub(crate) fn at(millis: i64, config: &Config) -> Self {
        let life = i64::try_from(config.execution_ttl.as_secs()).unwrap_or(i64::MAX);
        Self { millis, at: clock::rfc3339(millis), ttl: (millis / 1000).saturating_add(life) }
    }
}

/// The fire's execution id; a fire that carries no identity of its own is remembered by its Lambda request.
pub(crate) async fn identify(
    store: &Store,
    fire: &Fire,
    lambda_request_id: &str,
    started: &Started,
) -> Result<String, StoreError> {
    if let Some((_, instant)) = fire.scheduled_time {
        return Ok(fire::execution_id(&fire.trigger_id, Identity::Scheduled(instant)).to_string());
    }
    let first_claim = clock::instant(started.millis);
    let identity = Identity::Request { request_id: lambda_request_id, first_claim };
    let id = fire::execution_id(&fire.trigger_id, identity).to_string();
    store.guard(&fire.trigger_id, lambda_request_id, &id, started.ttl).await
}

/// The agent session of an execution whose event names none.
pub(crate) fn session_of(execution_id: &str) -> String {
    // A remembered id that is no UUID was written by nobody of ours.
    Uuid::parse_str(execution_id).map_or_else(|_| format!("s{}", Uuid::new_v4().simple()), |id| fire::session_id(&id))
}
