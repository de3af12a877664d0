//! The writes that end an execution, each under the condition that it rests on. `is_stored` says whether its trigger is a
//! stored one, whose failures are told by its health.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    domain::execution::Row,
    domain::fire::Fire,
    store::expression::Expression,
    store::record::{self, Attempt, Ending},
    store::transact::Part,
};

/// Ends an execution, if `owner` still owns it and it is running.
pub(crate) fn finished(trigger_id: &str, execution_id: &str, owner: &str, ending: &Ending, is_stored: bool) -> Part {
    let mut expression = Expression::default();
    let condition = Some(expression.owned_and_running(owner));
    let update = ended(&mut expression, ending, is_stored);
    Part::Update { key: record::execution_key(trigger_id, execution_id), update, condition, expression }
}

/// Ends an execution that nobody works on, if its row is still exactly `seen`.
pub(crate) fn abandoned(trigger_id: &str, execution_id: &str, ending: &Ending, seen: &Row, is_stored: bool) -> Part {
    let mut expression = Expression::default();
    let condition = Some(expression.as_seen(seen));
    let mut update = ended(&mut expression, ending, is_stored);
    if ending.failure.is_none() {
        // A cancelled execution may be one that had failed retryably.
        update = format!("{update} {}", expression.remove(&record::FAILURE_ATTRIBUTES));
    }
    Part::Update { key: record::execution_key(trigger_id, execution_id), update, condition, expression }
}

/// The end of a fire that no attempt wrote a record of, if there still is none at `now`, milliseconds since 1970.
pub(crate) fn never_run(fire: &Fire, attempt: &Attempt, ending: &Ending, now: i64, is_stored: bool) -> Part {
    let (condition, expression) = Expression::absent(now);
    let mut item = record::ended_item(fire, attempt, ending);
    item.extend(stored(is_stored).map(|(name, value)| (name.to_owned(), value)));
    Part::Put { item, condition, expression }
}

/// Takes away a failed execution's right to another attempt, if its row is still exactly `seen`.
pub(crate) fn finalised(trigger_id: &str, execution_id: &str, seen: &Row, is_stored: bool) -> Part {
    let mut expression = Expression::default();
    let condition = Some(expression.as_seen(seen));
    let is_final = ("retryable", AttributeValue::Bool(false));
    let update = expression.set([is_final].into_iter().chain(stored(is_stored)));
    Part::Update { key: record::execution_key(trigger_id, execution_id), update, condition, expression }
}

fn ended(expression: &mut Expression, ending: &Ending, is_stored: bool) -> String {
    expression.set(record::ending_attributes(ending).into_iter().chain(stored(is_stored)))
}

fn stored(is_stored: bool) -> Option<(&'static str, AttributeValue)> {
    is_stored.then_some(("stored", AttributeValue::Bool(true)))
}
