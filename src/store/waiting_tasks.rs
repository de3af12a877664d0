//! The items of tasks of Step Functions that wait for executions: the token of each, the executions that an execution
//! of Step Functions waits for, and the mark that it was stopped.

use crate::{
    clock::Clock,
    domain::waiting_task::{TASK_TOKEN, WaitingTask, hash_of, is_stopped_with},
    store::{
        Store,
        error::StoreError,
        execution_item::{EXECUTION_ID, TRIGGER_ID, TTL},
        expression::Expression,
        item::{Item, Key, integer, number, string, text},
        keys::{caller_key, stopped_caller_key, task_key},
        table::{ConditionalWrite, Query, Table},
    },
};

/// The time of a command, in milliseconds since 1970.
const SENT_AT: &str = "sentAt";
/// The time of a stop, in milliseconds since 1970.
const STOPPED_AT: &str = "stoppedAt";

impl<T: Table, C: Clock> Store<T, C> {
    /// Keeps the token of a task that waits for an execution, with a `ttl` in seconds since 1970. If the task names its
    /// caller, the execution is also remembered under it. What is kept already stays, so this may be repeated.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub(crate) async fn keep_task(
        &self,
        trigger_id: &str,
        execution_id: &str,
        task: &WaitingTask,
        ttl: i64,
    ) -> Result<(), StoreError> {
        let ids = |key: Key| {
            Item::from([
                ("PK".to_owned(), text(key.0)),
                ("SK".to_owned(), text(key.1)),
                (TRIGGER_ID.to_owned(), text(trigger_id)),
                (EXECUTION_ID.to_owned(), text(execution_id)),
                (TTL.to_owned(), number(ttl)),
            ])
        };
        let mut item = ids(task_key(trigger_id, execution_id));
        item.insert(TASK_TOKEN.to_owned(), text(task.token()));
        self.put_new(item).await?;
        if let Some(caller) = &task.caller {
            let mut item = ids(caller_key(&hash_of(caller), trigger_id, execution_id));
            item.extend(task.sent.map(|sent| (SENT_AT.to_owned(), number(sent))));
            self.put_new(item).await?;
        }
        Ok(())
    }

    /// Returns the time at which the execution of Step Functions `caller`, an ARN, was stopped last, in milliseconds
    /// since 1970, by the mark that [`Self::stop_caller`] leaves. Returns `None` if it was not stopped, and `i64::MAX`
    /// if the mark names no time.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub(crate) async fn caller_stopped_at(&self, caller: &str) -> Result<Option<i64>, StoreError> {
        let mark = self.table.get(stopped_caller_key(&hash_of(caller)), true).await?;
        // A mark without a time was not written by this version. Whatever was sent is stopped by it.
        Ok(mark.map(|mark| integer(&mark, STOPPED_AT).unwrap_or(i64::MAX)))
    }

    /// Marks an execution of Step Functions as stopped at `stopped_at`, in milliseconds since 1970, with a `ttl` in
    /// seconds since 1970. A mark of a later stop stays. Returns the executions that it waited for then, each as its
    /// trigger and its id. One that begins later finds the mark.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result. The stop may have been written all the same.
    pub(crate) async fn stop_caller(
        &self,
        caller: &str,
        stopped_at: i64,
        ttl: i64,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let (pk, sk) = stopped_caller_key(&hash_of(caller));
        let partition = pk.clone();
        let mark = [("PK", text(pk)), ("SK", text(sk)), (STOPPED_AT, number(stopped_at)), (TTL, number(ttl))];
        let item = mark.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut expression = Expression::default();
        let condition = expression.absent_or_below(STOPPED_AT, number(stopped_at));
        self.table.write(ConditionalWrite::Put { item, condition, expression }, false).await?;
        let mut expression = Expression::default();
        let filter = format!("attribute_exists({})", expression.name(EXECUTION_ID));
        let (from, to) = ("EXECUTION#".to_owned(), "EXECUTION$".to_owned());
        let found = self.table.query(Query { partition, from, to, filter, expression }).await?;
        let is_stopped = |item: &Item| is_stopped_with(integer(item, SENT_AT), stopped_at);
        let ids = |item: Item| Some((string(&item, TRIGGER_ID)?, string(&item, EXECUTION_ID)?));
        Ok(found.into_iter().filter(is_stopped).filter_map(ids).collect())
    }

    /// Puts an item unless there is one under its key: that one stays, and this is no error.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    async fn put_new(&self, item: Item) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = format!("attribute_not_exists({})", expression.name("PK"));
        self.table.write(ConditionalWrite::Put { item, condition, expression }, false).await.map(|_| ())
    }
}
