//! Executions: `PK=TRIGGER#{triggerId}`, `SK=EXECUTION#{executionId}`, and the inputs beside them. An id is a UUIDv7 of
//! the fire's time, so a filter by time is one of keys.

use agent_trigger::{
    json::lenient,
    store::{
        error::StoreError,
        execution_item::{CANCEL_REQUESTED, RETRYABLE, STATUS, USER_ID},
    },
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::store::{
    Changes, Items, Write, is_over,
    query::{Range, key_text},
};

/// The number of rows after which a request for a list reads no further batch, however few of them it wants.
const MOST_READ: usize = 1_000;
/// The least number of rows in the first batch that is searched for statuses. What DynamoDB looks at is paid for, so a
/// list of frequent statuses must not read everything; a second batch then takes all that is left.
const LEAST_SEARCHED: usize = 100;

const PREFIX: &str = "EXECUTION#";

/// The filter of a list of executions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The earliest time of a fire.
    pub from: Option<Timestamp>,
    /// The latest time of a fire.
    pub to: Option<Timestamp>,
    /// The statuses. An empty list means all.
    pub statuses: Vec<String>,
    /// True for the oldest first.
    pub is_ascending: bool,
}

/// One page of a trigger's executions.
#[derive(Debug, Default)]
pub struct ExecutionPage {
    /// The rows.
    pub rows: Vec<Map<String, Value>>,
    /// The id after which the next page begins, if there may be one.
    pub next: Option<String>,
}

impl Items {
    /// Reads a page of a trigger's executions, in the order of their fires, after the execution `after`. A search for
    /// statuses makes at most two queries, for 1,000 rows, and a further one for each MB of theirs. So a page may have
    /// fewer than `limit` executions, or none, and still have a next one. Rows of other users and those whose ttl has
    /// passed are left out. A row that names no user is everyone's. If `after` lies outside the filter's times, the
    /// page is the first one, or an empty one if everything comes before `after`.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn executions(
        &self,
        user_id: &str,
        trigger_id: &str,
        filter: &Filter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ExecutionPage, StoreError> {
        let bound = |at: Option<Timestamp>, bits: [u8; 10], other: &str| match at {
            Some(at) => {
                let millis = u64::try_from(at.as_millisecond()).unwrap_or_default();
                format!("EXECUTION#{}", uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
            }
            None => other.to_owned(),
        };
        let range = Range {
            pk: format!("TRIGGER#{trigger_id}"),
            first: bound(filter.from, [0; 10], "EXECUTION#"),
            last: bound(filter.to, [0xff; 10], "EXECUTION$"),
            is_ascending: filter.is_ascending,
            only: (!filter.statuses.is_empty()).then(|| (STATUS, filter.statuses.clone())),
        };
        if range.first > range.last {
            return Ok(ExecutionPage::default());
        }
        let after = after.map(|id| format!("EXECUTION#{id}"));
        // DynamoDB refuses a start outside the range. A page after the range's end is empty, one before it the first.
        let mut after = match after {
            Some(key) if range.is_ascending && key > range.last => return Ok(ExecutionPage::default()),
            Some(key) if !range.is_ascending && key < range.first => return Ok(ExecutionPage::default()),
            Some(key) => Some(key).filter(|key| (&range.first..=&range.last).contains(&key)),
            None => None,
        };
        let is_users = |row: &Map<String, Value>| row.get(USER_ID).is_none_or(|user| user == user_id);
        let mut batch = if range.only.is_none() { limit } else { (limit * 4).clamp(LEAST_SEARCHED, MOST_READ) };
        let (mut rows, mut read) = (Vec::new(), 0);
        loop {
            let page = self.page(&range, after.as_deref(), batch).await?;
            let now = Self::now_seconds();
            let count = page.items.len();
            for (at, row) in page.items.into_iter().enumerate() {
                let key = key_text(&row, "SK").to_owned();
                if !is_over(&row, now) && is_users(&row) {
                    rows.push(row);
                }
                if rows.len() == limit && at + 1 < count {
                    return Ok(ExecutionPage { rows, next: Some(without_prefix(&key).to_owned()) });
                }
            }
            read += page.looked_at;
            after = page.next;
            if after.is_none() || rows.len() == limit || read >= MOST_READ {
                return Ok(ExecutionPage { rows, next: after.map(|key| without_prefix(&key).to_owned()) });
            }
            if range.only.is_some() {
                batch = MOST_READ - read;
            }
        }
    }

    /// Reads an execution of a user. An execution of another user, or one whose ttl has passed, counts as absent. A row
    /// that names no user is everyone's.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn execution(
        &self,
        user_id: &str,
        trigger_id: &str,
        execution_id: &str,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let key = (format!("TRIGGER#{trigger_id}"), format!("EXECUTION#{execution_id}"));
        let row = self.item(key).await?;
        Ok(row.filter(|row| row.get(USER_ID).is_none_or(|user| user == user_id)))
    }

    /// Reads the kept input of an execution, or `None` if none is kept or it is no JSON. The caller must check its
    /// user.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn input(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Value>, StoreError> {
        let key = (format!("TRIGGER#{trigger_id}"), format!("INPUT#{execution_id}"));
        let item = self.item(key).await?;
        Ok(item.and_then(|item| lenient::parse(item.get("detail")?.as_str()?).ok()))
    }

    /// Requests the end of an execution that runs or may run again. Any other is refused, and its row is in the result,
    /// if there is one. A second request is taken like the first. The caller must check the execution's user.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been requested all the same.
    pub async fn request_cancel(&self, trigger_id: &str, execution_id: &str) -> Result<Write, StoreError> {
        let key = (format!("TRIGGER#{trigger_id}"), format!("EXECUTION#{execution_id}"));
        let mut changes = Changes::default().set(CANCEL_REQUESTED, &json!(true));
        let (status, retryable) = (changes.name(STATUS), changes.name(RETRYABLE));
        let (running, yes) = (changes.value(&json!("running")), changes.value(&json!(true)));
        let condition = format!("{status} = {running} OR {retryable} = {yes}");
        self.update(key, changes, &condition).await
    }
}

/// Returns the id of an execution's row, which is the end of its sort key.
pub fn id_of(row: &Map<String, Value>) -> &str {
    without_prefix(key_text(row, "SK"))
}

/// Returns the id in a sort key of executions.
fn without_prefix(key: &str) -> &str {
    key.trim_start_matches(PREFIX)
}

/// Returns the time of a fire from its execution's id, or `None` if that is no UUID with a time.
pub fn time_of(execution_id: &str) -> Option<Timestamp> {
    let (seconds, nanos) = Uuid::parse_str(execution_id).ok()?.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}
