//! The items of webhooks, all of them below `PK=HOOK#{hookId}`: the pointer to the trigger (`HOOK`), the deliveries
//! that were seen (`SEEN#{hash}`), the receipts (`DELIVERY#{id}`, and `REFUSED#{id}` for refusals), and the counts of a
//! minute (`RATE#{minute}`). An alias has a pointer alone (`aliases`). Strangers can cause refusals, so these have keys
//! of their own and hide nothing else.

use std::collections::HashMap;

use agent_trigger::{
    error_chain::chain,
    store::{
        error::StoreError,
        execution_item::TTL,
        item::Key,
        table::{ConditionalWrite, Table, Written},
    },
};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    hooks::event::EventIdentity,
    store::{
        Changes, Items, Write, current, is_over, item_of, object_of,
        query::{Range, key_text},
        text,
        triggers::trigger_key,
    },
    times::rfc3339,
};

/// The time for which a delivery is known, in seconds. Its receipt is kept a day longer.
pub const KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;
/// A receipt outlives the memory of its delivery by this, so that a further delivery finds it.
const RECEIPT_EXTRA_SECONDS: i64 = 24 * 60 * 60;
/// The time for which the count of a minute is kept, from the beginning of the minute, in seconds.
const RATE_KEPT_SECONDS: i64 = 10 * 60;
/// The attributes of a trigger that the hook function reads. Its role allows no others (template.yaml).
pub const TRIGGER_ATTRIBUTES: [&str; 5] = ["PK", "SK", "deletedAt", "ttl", "webhookConfig"];

/// The beginning of the sort keys of receipts that are no refusals.
const DELIVERY: &str = "DELIVERY";
/// The beginning of those of refusals.
const REFUSED: &str = "REFUSED";

/// The trigger that a hook belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The trigger's user.
    pub user_id: String,
    /// The trigger.
    pub trigger_id: String,
}

/// What an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The trigger that it leads to, or led to.
    pub pointer: Pointer,
    /// True if the address was given up.
    pub is_retired: bool,
}

/// The receipt of a delivery. It holds no body and no header.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The hook.
    pub hook_id: String,
    /// The id: that of the event, if there is one.
    pub id: Uuid,
    /// The time of the delivery.
    pub at: Timestamp,
    /// `accepted`, `refused` or `handshake`.
    pub outcome: &'static str,
    /// The reason of a refusal.
    pub reason: Option<&'static str>,
    /// The sender's own id of the delivery.
    pub sender_id: Option<String>,
    /// The sender's address.
    pub source_ip: Option<String>,
    /// The size of the body, as far as it was read.
    pub bytes: Option<usize>,
    /// The execution that the delivery makes.
    pub execution_id: Option<String>,
    /// True for a test delivery.
    pub is_test: bool,
    /// The number of deliveries that this receipt stands for, if they were only counted. None for a receipt of one
    /// delivery.
    pub count: Option<u64>,
}

/// Returns the key of an item of a hook: `HOOK#hook` and `sk`.
fn hook_key(hook_id: &str, sk: String) -> Key {
    (format!("HOOK#{hook_id}"), sk)
}

/// Returns the key of the pointer of an address, the id of a hook or an alias: `HOOK#address`, `HOOK`.
pub(super) fn pointer_key(address: &str) -> Key {
    hook_key(address, "HOOK".to_owned())
}

/// Reads a pointer, or returns `None` if its user or its trigger is missing.
pub(super) fn pointer_of(item: &Map<String, Value>) -> Option<Pointer> {
    let text = |name: &str| item.get(name)?.as_str().map(str::to_owned);
    Some(Pointer { user_id: text("userId")?, trigger_id: text("triggerId")? })
}

impl Items {
    /// Reads the pointer of an address, the id of a hook or an alias. One that was retired is returned until its ttl
    /// passes. Returns `None` if there is none or it is not understood.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn hook(&self, address: &str) -> Result<Option<Found>, StoreError> {
        let item = self.item(pointer_key(address)).await?;
        Ok(item.and_then(|item| Some(Found { pointer: pointer_of(&item)?, is_retired: item.contains_key(TTL) })))
    }

    /// Reads what the hook function may know of a trigger, or of its tombstone: [`TRIGGER_ATTRIBUTES`]. One whose ttl
    /// has passed counts as absent.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn trigger_of_hook(&self, pointer: &Pointer) -> Result<Option<Map<String, Value>>, StoreError> {
        let (pk, sk) = trigger_key(&pointer.user_id, &pointer.trigger_id);
        let table = self.table();
        let names: HashMap<_, _> =
            TRIGGER_ATTRIBUTES.iter().map(|name| (format!("#{name}"), (*name).to_owned())).collect();
        let mut projection: Vec<_> = names.keys().cloned().collect();
        projection.sort();
        let request = table.client().get_item().table_name(table.name()).key("PK", text(pk)).key("SK", text(sk));
        let request = request
            .projection_expression(projection.join(", "))
            .set_expression_attribute_names(Some(names))
            .consistent_read(true);
        let output = Box::pin(request.send()).await.map_err(|error| match error.as_service_error() {
            Some(service) => StoreError::Service {
                operation: "GetItem",
                code: service.code().unwrap_or("unknown error").to_owned(),
                message: service.message().unwrap_or_default().to_owned(),
            },
            None => StoreError::NoAnswer { operation: "GetItem", cause: chain(&error) },
        })?;
        Ok(output.item.and_then(|item| current(item, Self::now_seconds())))
    }

    /// Makes a hook point to a trigger. If it was retired, it is valid again. The write is refused if the hook points
    /// to another trigger, even if that pointer was retired and is not deleted yet.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may point there all the same.
    pub async fn point_hook(&self, hook_id: &str, pointer: &Pointer) -> Result<Write, StoreError> {
        let Pointer { user_id, trigger_id } = pointer;
        let mut changes = Changes::default().set("userId", &json!(user_id)).set("triggerId", &json!(trigger_id));
        changes = changes.remove("ttl");
        let (pk, name) = (changes.name("PK"), changes.name("triggerId"));
        let condition = format!("attribute_not_exists({pk}) OR {name} = {}", changes.value(&json!(trigger_id)));
        self.update(pointer_key(hook_id), changes, &condition).await
    }

    /// Lets a hook end at `ttl`, in seconds since 1970. It points to its trigger's tombstone until then. A second call
    /// sets the time anew. The write is refused if there is no such hook.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may end then all the same.
    pub async fn retire_hook(&self, hook_id: &str, ttl: i64) -> Result<Write, StoreError> {
        let mut changes = Changes::default().set("ttl", &json!(ttl));
        let condition = format!("attribute_exists({})", changes.name("PK"));
        self.update(pointer_key(hook_id), changes, &condition).await
    }

    /// Remembers a delivery for seven days after the identity's time, by `key`, the hash of its key. Returns `None` if
    /// it is new or was remembered with the id of this very identity, or otherwise the identity that was chosen when it
    /// first came.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or what it remembered cannot be read. It may be remembered all
    /// the same.
    pub async fn remember_delivery(
        &self,
        hook_id: &str,
        key: &str,
        identity: &EventIdentity,
    ) -> Result<Option<EventIdentity>, StoreError> {
        let (pk, sk) = hook_key(hook_id, format!("SEEN#{key}"));
        let ttl = identity.time.as_second() + KEPT_SECONDS;
        let item = json!({"PK": pk, "SK": sk, "eventId": identity.id.to_string(), "eventTime": rfc3339(identity.time), "ttl": ttl});
        let Value::Object(item) = item else { return Err(StoreError::Unreadable) };
        let mut changes = Changes::default();
        let (pk, ttl, now) = (changes.name("PK"), changes.name("ttl"), changes.value(&json!(Self::now_seconds())));
        let condition = format!("attribute_not_exists({pk}) OR {ttl} <= {now}");
        let (_, expression) = changes.into_parts();
        let put = ConditionalWrite::Put { item: item_of(&item), condition, expression };
        let found = match self.table().write(put, false).await? {
            Written::Done(_) => return Ok(None),
            Written::Refused(found) => found.map(object_of).unwrap_or_default(),
        };
        let text = |name: &str| found.get(name).and_then(Value::as_str);
        let id = text("eventId").and_then(|id| Uuid::parse_str(id).ok());
        let time = text("eventTime").and_then(|time| time.parse().ok());
        let known = id.zip(time).map(|(id, time)| EventIdentity { id, time }).ok_or(StoreError::Unreadable)?;
        // The answer of an earlier try of this very put may have been lost.
        Ok(Some(known).filter(|known| known.id != identity.id))
    }

    /// Stores a receipt, unless there is one of its id and kind, a refusal or not: that one stays. It is kept for eight
    /// days after its `at`. Members that are not known are left out.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been stored all the same.
    pub async fn put_receipt(&self, receipt: &Receipt) -> Result<(), StoreError> {
        let kind = if receipt.outcome == "refused" { REFUSED } else { DELIVERY };
        let (pk, sk) = hook_key(&receipt.hook_id, format!("{kind}#{}", receipt.id));
        let ttl = receipt.at.as_second() + KEPT_SECONDS + RECEIPT_EXTRA_SECONDS;
        let item = json!({"PK": pk, "SK": sk, "receivedAt": rfc3339(receipt.at), "outcome": receipt.outcome,
            "reason": receipt.reason, "senderId": receipt.sender_id, "sourceIp": receipt.source_ip,
            "bytes": receipt.bytes, "executionId": receipt.execution_id,
            "test": Some(true).filter(|_| receipt.is_test), "count": receipt.count, "ttl": ttl});
        let Value::Object(item) = item else { return Err(StoreError::Unreadable) };
        let item = item.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let mut changes = Changes::default();
        let condition = format!("attribute_not_exists({})", changes.name("PK"));
        let (_, expression) = changes.into_parts();
        let put = ConditionalWrite::Put { item: item_of(&item), condition, expression };
        self.table().write(put, false).await.map(|_| ())
    }

    /// Counts a further delivery of the event `id`. Returns true if the event was dispatched, false if it was not, and
    /// `None` if there is no receipt.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. The delivery may be counted all the same.
    pub async fn count_duplicate(&self, hook_id: &str, id: Uuid) -> Result<Option<bool>, StoreError> {
        let mut changes = Changes::default().count("duplicates");
        let condition = format!("attribute_exists({})", changes.name("PK"));
        let key = hook_key(hook_id, format!("{DELIVERY}#{id}"));
        Ok(match self.update(key, changes, &condition).await? {
            Write::Done(receipt) => Some(receipt.contains_key("dispatchedAt")),
            Write::Refused(_) => None,
        })
    }

    /// Notes in its receipt that the event `id` was dispatched. Without a receipt nothing is written.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been noted all the same.
    pub async fn note_dispatched(&self, hook_id: &str, id: Uuid, at: Timestamp) -> Result<(), StoreError> {
        let mut changes = Changes::default().set("dispatchedAt", &json!(rfc3339(at)));
        let condition = format!("attribute_exists({})", changes.name("PK"));
        let key = hook_key(hook_id, format!("{DELIVERY}#{id}"));
        self.update(key, changes, &condition).await.map(|_| ())
    }

    /// Counts a delivery of the minute that begins at `minute`, in seconds since 1970. Returns false, and does not
    /// count it, if there were `limit` already.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. The delivery may be counted all the same.
    pub async fn count_rate(&self, hook_id: &str, minute: i64, limit: u64) -> Result<bool, StoreError> {
        let mut changes = Changes::default().count("count").set("ttl", &json!(minute + RATE_KEPT_SECONDS));
        let (count, limit) = (changes.name("count"), changes.value(&json!(limit)));
        let condition = format!("attribute_not_exists({count}) OR {count} < {limit}");
        let write = self.update(hook_key(hook_id, format!("RATE#{minute}")), changes, &condition).await?;
        Ok(matches!(write, Write::Done(_)))
    }

    /// Reads the newest `limit` refusals of a hook, and the newest `limit` of its other receipts. Returns them
    /// together, newest first. Those whose ttl has passed are left out, and those of the last moments may be missing.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn receipts(&self, hook_id: &str, limit: usize) -> Result<Vec<Map<String, Value>>, StoreError> {
        let of = |kind| self.receipts_of(hook_id, kind, limit);
        let (mut receipts, refused) = tokio::try_join!(of(DELIVERY), of(REFUSED))?;
        receipts.extend(refused);
        receipts.sort_by(|one, other| receipt_id(other).cmp(receipt_id(one)));
        Ok(receipts)
    }

    /// Reads the newest `limit` receipts of one kind, in one request.
    async fn receipts_of(
        &self,
        hook_id: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<Map<String, Value>>, StoreError> {
        let (first, last) = (format!("{kind}#"), format!("{kind}$"));
        let range = Range { pk: format!("HOOK#{hook_id}"), first, last, ..Range::default() };
        let page = self.page(&range, None, limit).await?;
        let now = Self::now_seconds();
        Ok(page.items.into_iter().filter(|item| !is_over(item, now)).collect())
    }
}

/// Returns the id of a receipt, which is the end of its sort key.
pub fn receipt_id(receipt: &Map<String, Value>) -> &str {
    key_text(receipt, "SK").split_once('#').map_or("", |(_, id)| id)
}
