//! The event sources that triggers may subscribe to, and the answer that shows that the API lives.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use crate::{api::Api, reply::Reply};

/// `GET /events`: the event sources of the settings.
pub async fn list(State(api): State<Arc<Api>>) -> Reply {
    let sources = &api.settings.event_sources;
    Reply::ok(json!({"eventSources": sources})).count(sources.len())
}

/// `GET /ping`: that the API lives, and its version. It needs no token and asks nobody.
pub async fn ping() -> Reply {
    Reply::ok(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// Returns true if one of the `sources` has this id, so that triggers may subscribe to it.
pub fn is_source(sources: &[Value], id: &str) -> bool {
    sources.iter().any(|source| source["id"] == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_known_by_its_id() {
        let sources = [json!({"id": "aws-s3", "name": "Uploads"})];
        assert!(is_source(&sources, "aws-s3"));
        assert!(!is_source(&sources, "Uploads"));
    }
}
