//! One delivery: the order of its checks, and what becomes of it. Each refusal by a hook leaves a receipt that says
//! why, or is counted. The sender learns less: all doubts about its signature have one answer. A fault of this side is
//! 503: the sender tries again, and an event with a key runs once.

use std::{net::IpAddr, time::Duration};

use agent_trigger::config::Secret;
use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    error::ApiError,
    hooks::{
        body::{self, Body, BodyError},
        event::{EventIdentity, content_type, delivery_key, payload, sender_id},
        scheme::Preset,
        signature::{Distrust, Trusted, verify},
        state::{Hook, Hooks, NoHook, fault},
    },
    reply::Reply,
    store::hooks::Receipt,
    times,
};

/// The largest body in bytes. The event for the run function, in which a text may take several times its size, has a
/// limit of its own.
pub const LARGEST_BODY: usize = 200 * 1024;
/// The largest event for the run function in bytes. Lambda queues up to 1 MiB.
pub const LARGEST_PAYLOAD: usize = 1_000_000;
/// The reason of a refusal that is no fault of the sender: a secret that it may be signed with cannot be read.
pub const SECRET: &str = "secret";
/// The reason of another one: what is needed of the webhook's settings is not understood.
const SETTINGS: &str = "settings";
/// The time limit of a delivery until the run function has it. The function's own is 10 s. One that is dropped here can
/// be sent again. Without a key it may then run twice, if Lambda took it and had not answered.
const TIME_LIMIT: Duration = Duration::from_secs(8);
/// The time limit of the note that a delivery was dispatched. Both limits together are within the function's own.
const NOTE_LIMIT: Duration = Duration::from_millis(1_500);

/// The sender's address, as the edge knows it.
#[derive(Debug, Clone, Copy)]
pub struct SourceIp(pub IpAddr);

/// A delivery: what a receipt tells of it.
#[derive(Debug)]
pub struct Delivery {
    /// The headers.
    pub headers: HeaderMap,
    /// The sender's address.
    pub source_ip: Option<IpAddr>,
    /// The time at which it came.
    pub at: Timestamp,
    /// The size of the body, once it was read.
    pub bytes: Option<usize>,
    /// The id of a test delivery, under which its owner looks for the receipt. None for any other.
    pub test_id: Option<String>,
}

/// The reason why a delivery is not accepted.
enum Stop {
    /// It is refused. Holds the reason for the receipt.
    Refused(&'static str, ApiError),
    /// A fault of this side.
    Fault(ApiError),
}

/// A delivery that is answered as received.
struct Received {
    response: Response,
    /// The hook and the event, if the run function took it just now.
    dispatched: Option<(String, Uuid)>,
}

impl From<Response> for Received {
    fn from(response: Response) -> Self {
        Self { response, dispatched: None }
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Fault(error)
    }
}

/// Receives a request for a hook of a trigger, by its id or its alias, or for the stack's own if `hook_id` is `None`.
/// Checks the method, the size and the address, and then the delivery as [`deliver`] does. One that the run function
/// does not have after 8 s is answered with 503.
pub async fn receive(hooks: &Hooks, hook_id: Option<&str>, request: Request) -> Response {
    let receiving = Box::pin(async {
        let source_ip = request.extensions().get::<SourceIp>().map(|SourceIp(address)| *address);
        let (parts, body) = request.into_parts();
        let at = times::now();
        let mut delivery = Delivery { headers: parts.headers, source_ip, at, bytes: None, test_id: None };
        let hook = match hook_id {
            Some(id) => found(hooks, id, &delivery).await?,
            None => hooks.github_hook(),
        };
        let checked = async {
            if parts.method != Method::POST {
                return Err(Stop::Refused("method", ApiError::MethodNotAllowed));
            }
            let body = to_bytes(body, LARGEST_BODY).await;
            let body = body.map_err(|_| Stop::Refused("tooLarge", ApiError::TooLarge))?;
            delivery.bytes = Some(body.len());
            if !hook.webhook.allows(source_ip) {
                return Err(Stop::Refused("address", ApiError::AddressNotAllowed));
            }
            Ok(body)
        }
        .await;
        conclude(hooks, &hook, &delivery, checked).await
    });
    let received = tokio::time::timeout(TIME_LIMIT, receiving).await;
    let late = || Err(ApiError::Unavailable("it took too long; send again".to_owned()));
    match received.unwrap_or_else(|_| late()) {
        Ok(received) => noted(hooks, received).await,
        Err(error) => error.into_response(),
    }
}

/// Reads the hook of a delivery by its address.
///
/// # Errors
/// Returns the error for the sender. If the hook's settings are not understood, a receipt says so.
pub async fn found(hooks: &Hooks, address: &str, delivery: &Delivery) -> Result<Hook, ApiError> {
    let (hook_id, trigger_id) = match hooks.hook(address, delivery.at).await {
        Ok(hook) => return Ok(hook),
        Err(NoHook::Error(error)) => return Err(error),
        Err(NoHook::Settings(hook_id, trigger_id)) => (hook_id, trigger_id),
    };
    refuse(hooks, (&hook_id, Some(&trigger_id)), delivery, SETTINGS).await;
    Err(ApiError::Unavailable("the webhook cannot be used as it is set; send again".to_owned()))
}

/// Logs that a delivery for a hook, and its trigger if it has one, is refused for this reason, and notes the receipt.
async fn refuse(hooks: &Hooks, (hook_id, trigger_id): (&str, Option<&str>), delivery: &Delivery, reason: &'static str) {
    tracing::info!(triggerId = trigger_id, reason, "the delivery is refused");
    let receipt = receipt(hook_id, delivery, Uuid::now_v7(), "refused", Some(reason), None);
    hooks.receipts.note(&hooks.items, receipt).await;
}

/// Accepts a delivery whose body was read, and answers it, or refuses it.
///
/// # Errors
/// Returns the refusal, once its receipt is noted, or the fault.
pub async fn deliver(hooks: &Hooks, hook: &Hook, delivery: &Delivery, body: Bytes) -> Result<Response, ApiError> {
    let received = conclude(hooks, hook, delivery, Ok(body)).await?;
    Ok(noted(hooks, received).await)
}

/// Notes that a delivery was dispatched, and returns its answer. The run function has it, so the sender must not send
/// it again because this note fails or is late: without a key it would run twice. With one, the next delivery invokes
/// again, and the event is known there.
async fn noted(hooks: &Hooks, Received { response, dispatched }: Received) -> Response {
    if let Some((hook_id, event_id)) = dispatched {
        let noting = hooks.items.note_dispatched(&hook_id, event_id, times::now());
        let cause = match tokio::time::timeout(NOTE_LIMIT, noting).await {
            Ok(noted) => noted.err().map(|error| agent_trigger::error_chain::chain(&error)),
            Err(_) => Some("it took too long".to_owned()),
        };
        if let Some(cause) = cause {
            tracing::warn!(%cause, "the dispatch is not noted");
        }
    }
    response
}

/// Accepts a delivery if its `body` was read, and notes the receipt of a refusal, be it that of `body` or a later one.
/// A [`Stop::Fault`] leaves no receipt of a refusal.
///
/// # Errors
/// Returns the refusal or the fault.
async fn conclude(
    hooks: &Hooks,
    hook: &Hook,
    delivery: &Delivery,
    body: Result<Bytes, Stop>,
) -> Result<Received, ApiError> {
    let result = match body {
        Ok(body) => accept(hooks, hook, delivery, &body).await,
        Err(stop) => Err(stop),
    };
    match result {
        Ok(received) => Ok(received),
        Err(Stop::Refused(reason, error)) => {
            refuse(hooks, (&hook.id, hook.trigger_id()), delivery, reason).await;
            Err(error)
        }
        Err(Stop::Fault(error)) => Err(error),
    }
}

/// Checks the sender, the rate and the content, in this order, and dispatches the delivery. A handshake is answered
/// here, with a receipt, and dispatched to nobody.
///
/// # Errors
/// Returns why it is refused, or the fault.
async fn accept(hooks: &Hooks, hook: &Hook, delivery: &Delivery, raw: &[u8]) -> Result<Received, Stop> {
    let Delivery { headers, at, .. } = delivery;
    let preset = hook.webhook.scheme.preset();
    let trusted = trusted(hooks, hook, delivery, raw).await?;
    // After the signature, so that strangers cannot use it up.
    if let Some(seconds) = hooks.count(hook, *at).await? {
        return Err(Stop::Refused("rate", ApiError::TooMany { seconds }));
    }
    let read = body::read(raw, content_type(headers), preset);
    if let Some(response) = read.as_ref().ok().and_then(|body| handshake(preset, headers, &body.value)) {
        let receipt = receipt(&hook.id, delivery, Uuid::now_v7(), "handshake", None, None);
        hooks.receipts.note(&hooks.items, receipt).await;
        return Ok(response.into());
    }
    // A trigger that is switched off refuses it, too: its filters may ask for what is in it.
    let body = read.map_err(|error| {
        let problem = match error {
            BodyError::NotUtf8 => "the body must be UTF-8",
            BodyError::NotJson => "the body must be JSON",
            BodyError::TooDeep => "the body must have fewer levels",
        };
        Stop::Refused(error.into(), ApiError::InvalidArgument(problem.to_owned()))
    })?;
    dispatch(hooks, hook, delivery, &trusted, raw, &body).await
}

/// Checks who sent the delivery, by the hook's live secrets: the present one, then those before it in their grace time.
/// If one has replaced it since it was read, that one and those before it are asked as well. A signature that none of
/// them fits is wrong only if each could be read.
///
/// # Errors
/// Returns why the delivery is refused, also if a secret that it may be signed with cannot be read, or `NotFound` as a
/// fault if the hook does not exist.
async fn trusted(hooks: &Hooks, hook: &Hook, delivery: &Delivery, raw: &[u8]) -> Result<Trusted, Stop> {
    let unreadable = |error| match error {
        // It does not exist.
        ApiError::NotFound => Stop::Fault(error),
        // Nobody else tells the owner why nothing runs.
        _ => Stop::Refused(SECRET, error),
    };
    let now = delivery.at.as_second();
    let check = |secrets: &[Secret]| verify(&hook.webhook.scheme, &delivery.headers, raw, secrets, now);
    let present = hooks.present_secret(hook).await.map_err(unreadable)?;
    let mut checked = check(std::slice::from_ref(&present));
    let mut fault = None;
    for is_read_again in [false, true] {
        if is_read_again && checked == Err(Distrust::WrongSignature) {
            let Some(other) = hooks.other_secret(hook, &present).await.map_err(unreadable)? else { break };
            checked = check(&[other]);
        }
        if checked == Err(Distrust::WrongSignature) {
            let earlier;
            (earlier, fault) = hooks.earlier_secrets(hook, now).await;
            checked = check(&earlier);
        }
    }
    if let Some(fault) = fault.filter(|_| checked == Err(Distrust::WrongSignature)) {
        return Err(unreadable(fault));
    }
    let challenge = hook.webhook.scheme.preset().challenge();
    checked.map_err(|distrust| Stop::Refused(distrust.into(), ApiError::Untrusted { challenge }))
}

/// Returns the answer to a request by which Slack or GitHub only asks whether somebody listens, or `None` for any
/// other.
fn handshake(preset: Preset, headers: &HeaderMap, body: &Value) -> Option<Response> {
    match preset {
        Preset::Slack if body.get("type").is_some_and(|kind| kind == "url_verification") => {
            let challenge = body.get("challenge").and_then(Value::as_str).unwrap_or_default();
            Some(Reply::ok(json!({"challenge": challenge})).into_response())
        }
        // Slack looks from time to time whether the address of a command has a valid certificate.
        Preset::Slack if body.get("ssl_check").is_some_and(|check| check == "1") => {
            Some(StatusCode::OK.into_response())
        }
        Preset::Github if headers.get("x-github-event").is_some_and(|event| event == "ping") => {
            Some(Reply::ok(json!({"message": "pong"})).into_response())
        }
        _ => None,
    }
}

/// Remembers the delivery, if it has a key, and invokes the run function. One whose event was dispatched before is only
/// counted. After a crash between these steps, or before it is noted that the event was dispatched, the sender's next
/// try finds the identity that was chosen first, so that the run function knows the event again.
///
/// # Errors
/// Returns a refusal if the event has more than [`LARGEST_PAYLOAD`] bytes, or the fault of the table or of Lambda.
async fn dispatch(
    hooks: &Hooks,
    hook: &Hook,
    delivery: &Delivery,
    trusted: &Trusted,
    raw: &[u8],
    body: &Body,
) -> Result<Received, Stop> {
    let Delivery { headers, at, .. } = delivery;
    let preset = hook.webhook.scheme.preset();
    let mut identity = EventIdentity::new(*at);
    let text = payload(&identity, hook.receiver(), preset, headers, &body.json);
    if text.len() > LARGEST_PAYLOAD {
        return Err(Stop::Refused("tooLarge", ApiError::TooLarge));
    }
    let known = match delivery_key(&hook.webhook, trusted, headers, raw, &body.value) {
        Some(key) => hooks.items.remember_delivery(&hook.id, &key, &identity).await.map_err(fault)?,
        None => None,
    };
    let mut was_dispatched = None;
    if let Some(known) = known {
        identity = known;
        was_dispatched = hooks.items.count_duplicate(&hook.id, identity.id).await.map_err(fault)?;
    }
    let execution_id = hook.trigger_id().map(|trigger_id| identity.execution(trigger_id));
    if was_dispatched != Some(true) {
        if was_dispatched.is_none() {
            let receipt = receipt(&hook.id, delivery, identity.id, "accepted", None, execution_id.clone());
            hooks.items.put_receipt(&receipt).await.map_err(fault)?;
        }
        let text =
            if known.is_some() { payload(&identity, hook.receiver(), preset, headers, &body.json) } else { text };
        invoke(hooks, text).await?;
    }
    let dispatched = Some((hook.id.clone(), identity.id)).filter(|_| was_dispatched != Some(true));
    Ok(Received { response: accepted(hook, &identity, execution_id, known.is_some()), dispatched })
}

/// Invokes the run function asynchronously.
///
/// # Errors
/// Returns `Unavailable` if Lambda does not take the payload, which is logged. The run may begin all the same.
async fn invoke(hooks: &Hooks, payload: String) -> Result<(), ApiError> {
    hooks.dispatcher.invoke(&hooks.settings.run_function, payload, None).await.map_err(|error| {
        tracing::error!(cause = %error, "the run function could not be invoked");
        ApiError::Unavailable("the run function could not be invoked; send again".to_owned())
    })
}

/// Returns the answer to a delivery that was accepted: 202, or the status that the hook is set to, with the ids, and
/// whether it was known. Slack gets 200 without a body.
fn accepted(hook: &Hook, identity: &EventIdentity, execution_id: Option<String>, is_duplicate: bool) -> Response {
    if hook.webhook.scheme.preset() == Preset::Slack {
        // Slack shows a body to the user who sent a command.
        return StatusCode::OK.into_response();
    }
    let members = json!({"executionId": execution_id, "eventId": identity.id.to_string(), "duplicate": is_duplicate});
    let mut response = Reply::accepted(members).into_response();
    *response.status_mut() = hook.webhook.manners.accepted;
    response
}

/// Returns the receipt of one delivery, with what is known of it.
fn receipt(
    hook_id: &str,
    delivery: &Delivery,
    id: Uuid,
    outcome: &'static str,
    reason: Option<&'static str>,
    execution_id: Option<String>,
) -> Receipt {
    Receipt {
        hook_id: hook_id.to_owned(),
        id,
        at: delivery.at,
        outcome,
        reason,
        sender_id: delivery.test_id.clone().or_else(|| sender_id(&delivery.headers)),
        source_ip: delivery.source_ip.map(|address| address.to_string()),
        bytes: delivery.bytes,
        execution_id,
        is_test: delivery.test_id.is_some(),
        count: None,
    }
}
