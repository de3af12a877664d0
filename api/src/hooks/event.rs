//! The event that a delivery becomes, and the key by which two deliveries of one event are known.

use agent_trigger::domain::fire::{Identity, execution_id};
use axum::http::{
    HeaderMap,
    header::{CONTENT_TYPE, USER_AGENT},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    hooks::{
        scheme::Preset,
        signature::{Trusted, to_hex},
        webhook::Webhook,
    },
    times::rfc3339,
};

/// The `source` of every delivery to a trigger's own webhook, and the event source of its trigger.
pub const SOURCE: &str = "webhook";
/// The event source of deliveries to the stack's own GitHub webhook.
pub const GITHUB_SOURCE: &str = "github";
/// The `detail-type` of every delivery. A sender cannot choose it.
const DETAIL_TYPE: &str = "Webhook Received";
/// The headers that an event keeps. Authorization, cookies and signatures are never among them. One that names a
/// delivery belongs to [`SENDER_IDS`], too: otherwise it counts as one that repeats itself ([`repeats_itself`]).
const KEPT_HEADERS: [&str; 28] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "svix-id",
    "svix-timestamp",
    "x-github-event",
    "x-github-delivery",
    "x-github-hook-id",
    "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type",
    "x-slack-request-timestamp",
    "x-slack-retry-num",
    "x-slack-retry-reason",
    "x-gitlab-event",
    "x-gitlab-event-uuid",
    "x-gitlab-webhook-uuid",
    "x-gitea-event",
    "x-gitea-delivery",
    "x-shopify-topic",
    "x-shopify-shop-domain",
    "x-shopify-webhook-id",
    "x-event-key",
    "x-event-type",
    "x-request-id",
    "linear-event",
    "sentry-hook-resource",
    "idempotency-key",
];
/// The headers that name a delivery. The first that came once is shown in receipts.
const SENDER_IDS: [&str; 9] = [
    "webhook-id",
    "svix-id",
    "x-github-delivery",
    "x-gitlab-event-uuid",
    "x-gitea-delivery",
    "x-shopify-webhook-id",
    "linear-delivery",
    "idempotency-key",
    "x-request-id",
];
/// The longest value of a kept header, in bytes. A longer one is left out.
const LONGEST_HEADER: usize = 1_024;
/// The longest id of a sender that a receipt holds, in characters.
const LONGEST_SENDER_ID: usize = 128;

/// The identity of a delivery's event: chosen when it first came, and the same for each further delivery of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventIdentity {
    /// The event's id.
    pub id: Uuid,
    /// The event's time, in whole milliseconds.
    pub time: Timestamp,
}

impl EventIdentity {
    /// Returns a new identity. The id sorts by the time.
    pub fn new(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_millisecond()).unwrap_or_default();
        let bits = Uuid::new_v4().into_bytes();
        let mut random = [0; 10];
        random.copy_from_slice(&bits[6..]);
        Self { id: uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid(), time }
    }

    /// Returns the id of the execution that the event makes of a trigger.
    pub fn execution(&self, trigger_id: &str) -> String {
        let nanos = i128::from(self.time.as_millisecond()) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        execution_id(trigger_id, Identity::Event { id: self.id, time, replay_name: None }).to_string()
    }
}

/// The receiver of a delivery.
#[derive(Debug, Clone, Copy)]
pub enum Receiver<'a> {
    /// One trigger.
    Trigger {
        /// The trigger.
        id: &'a str,
        /// Its user.
        user_id: &'a str,
    },
    /// Every trigger that is subscribed to [`GITHUB_SOURCE`].
    GithubSubscribers,
}

/// Returns the payload for the run function: an event with the identity's id and time, addressed to the receiver, whose
/// detail has the provider, the sender's id, the kept headers and the body. `body` must be JSON. It stands in the
/// payload as it is, so that numbers keep their spelling.
pub fn payload(
    identity: &EventIdentity,
    receiver: Receiver<'_>,
    preset: Preset,
    headers: &HeaderMap,
    body: &str,
) -> String {
    let mut event = json!({"version": "0", "id": identity.id.to_string(), "detail-type": DETAIL_TYPE, "source": SOURCE,
        "time": rfc3339(identity.time), "resources": []});
    match receiver {
        Receiver::Trigger { id, user_id } => event["_address"] = json!({"triggerId": id, "userId": user_id}),
        Receiver::GithubSubscribers => event["_eventSourceId"] = json!(GITHUB_SOURCE),
    }
    let detail = json!({"provider": preset.as_str(), "deliveryId": sender_id(headers), "headers": kept(headers)});
    let (event, detail) = (event.to_string(), detail.to_string());
    // Each object is opened again at its last brace.
    let (event, detail) = (&event[..event.len() - 1], &detail[..detail.len() - 1]);
    format!(r#"{event},"detail":{detail},"body":{body}}}}}"#)
}

/// Returns true for a header that an event keeps or that receipts show. No secret may stand in one. `name` must be in
/// lower case.
pub fn is_shown(name: &str) -> bool {
    KEPT_HEADERS.contains(&name) || SENDER_IDS.contains(&name)
}

/// Returns true for a header that says the same in many deliveries, so that it cannot name one of them: one that tells
/// of the sender, of its webhook or of the connection. `name` must be in lower case. A header that is not known here
/// does not count as one.
pub fn repeats_itself(name: &str) -> bool {
    const OF_THE_CONNECTION: [&str; 17] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-encoding",
        "forwarded",
        "from",
        "origin",
        "referer",
        "via",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
    ];
    KEPT_HEADERS.contains(&name) && !SENDER_IDS.contains(&name) || OF_THE_CONNECTION.contains(&name)
}

/// Returns the headers that an event keeps, by name. One that came twice, has more than 1,024 bytes, or is not visible
/// ASCII, is left out.
fn kept(headers: &HeaderMap) -> Map<String, Value> {
    let kept = KEPT_HEADERS.iter().filter_map(|name| {
        let value = only(headers, name).filter(|value| value.len() <= LONGEST_HEADER)?;
        Some(((*name).to_owned(), json!(value)))
    });
    kept.collect()
}

/// Returns the value of a header that came once, or `None`, also if it is not visible ASCII. Two values may come from
/// two senders: neither is believed. API Gateway joins them with a comma, so a value with one counts as two. Only a
/// `User-Agent` has commas of its own.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok().filter(|value| name == USER_AGENT.as_str() || !value.contains(','))?;
    values.next().is_none().then_some(value)
}

/// Returns the sender's own id of a delivery: the first header of [`SENDER_IDS`] that came once and is not empty, cut
/// to 128 characters. Returns `None` without one.
pub fn sender_id(headers: &HeaderMap) -> Option<String> {
    let id = SENDER_IDS.iter().find_map(|name| only(headers, name).filter(|id| !id.is_empty()));
    id.map(|id| id.chars().take(LONGEST_SENDER_ID).collect())
}

/// Returns the content type, or an empty text if there is none, it came twice, or its value has a comma.
pub fn content_type(headers: &HeaderMap) -> &str {
    only(headers, CONTENT_TYPE.as_str()).unwrap_or_default()
}

/// Returns the hash of the key by which another delivery of the same event is known, or `None` if there is no such key.
/// A key must be signed, or everybody could run a delivery again under another one: the signed id of Standard Webhooks,
/// the ids in the bodies of Slack and Stripe, or a signed body. The other presets have senders that send equal bodies
/// on purpose, such as pings, so only the header counts there that the hook takes ids from, `Idempotency-Key` by
/// default.
pub fn delivery_key(
    Webhook { scheme, manners, .. }: &Webhook,
    trusted: &Trusted,
    headers: &HeaderMap,
    raw: &[u8],
    body: &Value,
) -> Option<String> {
    let in_body = |name: &str| body.get(name).and_then(Value::as_str).filter(|id| !id.is_empty());
    let of_body = || ("body", to_hex(&Sha256::digest(raw)));
    let (kind, key) = match scheme.preset() {
        Preset::Standard => ("id", trusted.signed_id.clone()?),
        Preset::Github => of_body(),
        Preset::Slack => in_body("event_id").map_or_else(of_body, |id| ("id", id.to_owned())),
        Preset::Stripe => in_body("id").map_or_else(of_body, |id| ("id", id.to_owned())),
        Preset::Hmac | Preset::Token | Preset::Bearer | Preset::Basic => {
            let key = only(headers, manners.id_header.as_ref()?.as_str()).filter(|key| !key.is_empty())?;
            ("key", to_hex(key.as_bytes()))
        }
    };
    Some(to_hex(&Sha256::digest(format!("{kind}\0{key}"))))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_delivery_becomes_an_event_whose_type_nobody_chooses() {
        let identity = EventIdentity::new("2026-01-31T07:00:00.120Z".parse().unwrap());
        let sent = headers(&[
            ("x-github-event", "push"),
            ("x-github-delivery", "d-1"),
            ("authorization", "Bearer secret"),
            ("cookie", "secret"),
            ("x-hub-signature-256", "secret"),
            ("x-event-key", "a"),
            ("x-event-key", "b"),
            // API Gateway joins headers that come twice.
            ("x-gitlab-event", "Push Hook,Issue Hook"),
            ("idempotency-key", "a, b"),
            ("user-agent", "Mozilla/5.0 (KHTML, like Gecko)"),
        ]);
        let receiver = Receiver::Trigger { id: "t}", user_id: "u\"}" };
        let payload = payload(&identity, receiver, Preset::Github, &sent, r#"{"n": 1.10e2, "source": "aws.s3"}"#);
        assert!(payload.contains(r#""body":{"n": 1.10e2, "source": "aws.s3"}}}"#), "{payload}");
        let event: Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(event["_address"], json!({"triggerId": "t}", "userId": "u\"}"}));
        assert_eq!((&event["source"], &event["detail-type"]), (&json!("webhook"), &json!("Webhook Received")));
        let kept = json!({"x-github-event": "push", "x-github-delivery": "d-1",
            "user-agent": "Mozilla/5.0 (KHTML, like Gecko)"});
        assert_eq!(event["detail"]["headers"], kept);
        assert_eq!((&event["detail"]["deliveryId"], &event["detail"]["provider"]), (&json!("d-1"), &json!("github")));
        assert_eq!((&event["time"], identity.id.get_version_num()), (&json!("2026-01-31T07:00:00.120Z"), 7));
        let all = super::payload(&identity, Receiver::GithubSubscribers, Preset::Github, &headers(&[]), "null");
        let all: Value = serde_json::from_str(&all).unwrap();
        assert_eq!((&all["_eventSourceId"], all.get("_address")), (&json!("github"), None));
        assert_eq!(all["detail"]["body"], Value::Null);
    }

    #[test]
    fn only_a_key_that_is_signed_tells_two_deliveries_apart() {
        let key_of = |config: Value, id: Option<&str>, pairs: &[(&'static str, &str)], raw: &str| {
            let webhook = Webhook::of_stored(config.as_object().unwrap()).unwrap();
            let trusted = Trusted { signed_id: id.map(str::to_owned) };
            let body = serde_json::from_str(raw).unwrap_or_default();
            delivery_key(&webhook, &trusted, &headers(pairs), raw.as_bytes(), &body)
        };
        let key = |preset: Preset, id: Option<&str>, pairs: &[(&'static str, &str)], raw: &str| {
            let username = Some("u").filter(|_| preset == Preset::Basic);
            key_of(json!({"preset": preset.as_str(), "username": username}), id, pairs, raw)
        };
        let standard = |id, raw| key(Preset::Standard, Some(id), &[("idempotency-key", raw)], raw);
        assert_eq!(standard("msg_1", "{}"), standard("msg_1", "{\"a\":1}"));
        assert_ne!(standard("msg_1", "{}"), standard("msg_2", "{}"));
        let github = |delivery, raw| key(Preset::Github, None, &[("x-github-delivery", delivery)], raw);
        assert_eq!(github("1", "{}"), github("2", "{}"));
        assert_ne!(github("1", "{}"), github("1", "{ }"));
        let stripe = |raw| key(Preset::Stripe, None, &[], raw);
        assert_eq!(stripe(r#"{"id":"evt_1","pending_webhooks":1}"#), stripe(r#"{"id":"evt_1","pending_webhooks":2}"#));
        assert_ne!(stripe(r#"{"id":"evt_1"}"#), stripe(r#"{"id":"evt_2"}"#));
        for preset in [Preset::Hmac, Preset::Token, Preset::Bearer, Preset::Basic] {
            assert_eq!(key(preset, None, &[], ""), None);
            assert!(key(preset, None, &[("idempotency-key", "a")], "").is_some());
            assert_eq!(key(preset, None, &[("idempotency-key", "a"), ("idempotency-key", "b")], ""), None);
            assert_eq!(key(preset, None, &[("idempotency-key", "a,b")], ""), None);
        }
        // The header that is configured counts, and no other.
        let named = |pairs| key_of(json!({"preset": "hmac", "idHeader": "Linear-Delivery"}), None, pairs, "");
        assert_eq!(named(&[("linear-delivery", "1"), ("idempotency-key", "a")]), named(&[("linear-delivery", "1")]));
        assert_ne!(named(&[("linear-delivery", "1")]), named(&[("linear-delivery", "2")]));
        assert_eq!(named(&[("idempotency-key", "a")]), None);
    }

    /// API Gateway joins headers that come twice with a comma. Neither value is believed, there as on a port.
    #[test]
    fn a_header_that_came_twice_names_nothing() {
        for twice in [
            headers(&[
                ("x-github-delivery", "a"),
                ("x-github-delivery", "b"),
                ("content-type", "a"),
                ("content-type", "b"),
            ]),
            headers(&[("x-github-delivery", "a,b"), ("content-type", "a,b")]),
        ] {
            assert_eq!((sender_id(&twice), content_type(&twice)), (None, ""));
        }
        let further = headers(&[("x-github-delivery", "a,b"), ("x-request-id", "r")]);
        assert_eq!(sender_id(&further).as_deref(), Some("r"));
        assert_eq!(sender_id(&headers(&[("webhook-id", ""), ("x-request-id", "r")])).as_deref(), Some("r"));
        assert_eq!(content_type(&headers(&[("content-type", "text/plain")])), "text/plain");
    }

    #[test]
    fn an_identity_has_one_execution_of_each_trigger() {
        let identity = EventIdentity::new("2026-01-31T07:00:00.120Z".parse().unwrap());
        assert_eq!(identity.execution("t"), identity.execution("t"));
        assert_ne!(identity.execution("t"), identity.execution("u"));
        assert_ne!(EventIdentity::new(identity.time).id, identity.id);
    }
}
