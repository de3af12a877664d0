//! `GET /triggers/{id}/deliveries`: what came to a webhook, and why nothing ran.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    reply::Reply,
    request::Path,
    store::hooks::receipt_id,
    times,
    webhooks::{config_text, find_hooked},
};

/// The most refusals that are shown, and the most other receipts.
const SHOWN: usize = 50;
/// The time after which a delivery that was not dispatched is taken for lost, in seconds.
const LOST_SECONDS: i64 = 60;
/// The members of a receipt that are shown as they are.
const MEMBERS: [&str; 10] = [
    "receivedAt",
    "outcome",
    "reason",
    "senderId",
    "sourceIp",
    "bytes",
    "executionId",
    "dispatchedAt",
    "duplicates",
    "count",
];

/// `GET /triggers/{id}/deliveries`: the last 50 refusals and the last 50 others, newest first. So refusals, which
/// strangers can cause, hide nothing that was accepted.
///
/// # Errors
/// Returns an error if there is no such trigger or it has no webhook, or the table refuses or does not answer.
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find_hooked(&api, &caller, &id).await?;
    let hook_id = config_text(&item, "hookId").ok_or(ApiError::NotFound)?;
    let receipts = api.items.receipts(hook_id, SHOWN).await?;
    let now = times::now();
    let deliveries: Vec<Value> = receipts.iter().map(|receipt| shown(receipt, now)).collect();
    let count = deliveries.len();
    Ok(Reply::ok(json!({})).with("deliveries", deliveries.into()).count(count))
}

/// Returns a receipt as answers show it at `now`. `state` is `refused`, `handshake`, `dispatched`, `pending`, or after
/// a minute without a dispatch `notDispatched`. `message` explains what does not speak for itself.
fn shown(receipt: &Map<String, Value>, now: Timestamp) -> Value {
    let mut shown: Map<String, Value> =
        MEMBERS.iter().filter_map(|name| Some(((*name).to_owned(), receipt.get(*name)?.clone()))).collect();
    shown.insert("deliveryId".to_owned(), json!(receipt_id(receipt)));
    if receipt.get("test").is_some_and(|test| test == true) {
        shown.insert("test".to_owned(), json!(true));
    }
    let text = |name: &str| receipt.get(name).and_then(Value::as_str);
    let age = text("receivedAt").and_then(|at| at.parse::<Timestamp>().ok()).map(|at| now.as_second() - at.as_second());
    let state = match text("outcome") {
        Some("accepted") if text("dispatchedAt").is_some() => "dispatched",
        Some("accepted") if age.is_some_and(|age| age < LOST_SECONDS) => "pending",
        Some("accepted") => "notDispatched",
        Some("handshake") => "handshake",
        _ => "refused",
    };
    shown.insert("state".to_owned(), json!(state));
    let is_again = receipt.get("duplicates").and_then(Value::as_u64).is_some_and(|times| times > 0);
    if let Some(message) = explained(state, text("reason").unwrap_or_default(), is_again) {
        shown.insert("message".to_owned(), json!(message));
    }
    Value::Object(shown)
}

/// Returns what a state or a reason means, and what to do, or `None` if it speaks for itself. `is_again` is true if the
/// event came again.
fn explained(state: &str, reason: &str, is_again: bool) -> Option<&'static str> {
    Some(match (state, reason) {
        ("notDispatched", _) => {
            "It was accepted, and it is not known whether its run began. If there is no run, let the sender send it again: \
             with an id that it signs, or the same body where the body is signed, it runs once."
        }
        ("dispatched", _) if is_again => {
            "It came again, and was decided when it first came: to run it again, replay its run, or let the sender send \
             another."
        }
        ("handshake", _) => "The sender asked whether somebody listens, and was answered. Nothing runs.",
        (_, "secret") => {
            "A secret that it may be signed with cannot be read, so that nobody knows whether it is right. The sender was told \
             to come again. Replace the secret, or ask those who run the stack for the hook function's log."
        }
        (_, "settings") => {
            "The settings of this webhook are not understood, so that nothing can be checked, and the sender was told to come \
             again. Save them again: what is wrong is named then. Or ask those who run the stack for the hook function's log."
        }
        (_, "noSignature") => "The request had no signature in the header that this webhook reads.",
        (_, "duplicateHeader") => "A header of the signature came twice.",
        (_, "malformedSignature") => "The signature cannot be read. Compare the preset with what the sender sends.",
        (_, "malformedTimestamp") => "The signed time is no whole number of seconds.",
        (_, "staleTimestamp") => "The signed time is more than 300 seconds away. Compare the sender's clock.",
        (_, "wrongSignature") => "The signature was made with another secret, or of another body.",
        (_, "address") => "The sender's address is not in allowedIps.",
        (_, "rate") => "More came in this minute than ratePerMinute allows.",
        (_, "method") => "The request was no POST.",
        (_, "tooLarge") => "The body has more than 200 KiB, or its event more than Lambda takes.",
        (_, "notUtf8") => "The body is not UTF-8.",
        (_, "tooDeep") => "The body is nested more than 254 levels deep.",
        (_, "notJson") => "The body says that it is JSON, and is not.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_what_became_of_it() {
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        for (receipt, state, explains) in [
            (json!({"outcome": "accepted", "receivedAt": "2026-01-01T00:01:01Z"}), "pending", false),
            (json!({"outcome": "accepted", "receivedAt": "2026-01-01T00:01:00Z"}), "notDispatched", true),
            (json!({"outcome": "accepted", "dispatchedAt": "2026-01-01T00:00:00Z"}), "dispatched", false),
            (json!({"outcome": "refused", "reason": "wrongSignature"}), "refused", true),
            (json!({"outcome": "refused", "reason": "secret"}), "refused", true),
            (json!({"outcome": "refused", "reason": "settings"}), "refused", true),
            (json!({"outcome": "handshake"}), "handshake", true),
        ] {
            let shown = shown(receipt.as_object().unwrap(), now);
            assert_eq!((&shown["state"], shown.get("message").is_some()), (&json!(state), explains), "{receipt}");
        }
    }
}
