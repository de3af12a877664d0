//! DynamoDB expressions: the conditions of every write, and updates.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html>

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    domain::execution::{Row, Status},
    store::{
        execution_item::{
            ATTEMPT, CANCEL_REQUESTED, DETACHED_AT, LEASE_UNTIL, OWNER, REPORT_KEY, RETRYABLE, STATUS, TTL,
        },
        item::{number, text},
    },
};

/// The placeholders of one request's expressions. Every name goes through one, because some names are reserved words.
#[derive(Debug, Clone, Default)]
pub struct Expression {
    /// The attributes by their placeholders.
    pub names: HashMap<String, String>,
    /// The values by their placeholders.
    pub values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// Adds an attribute, if it is not there yet, and returns its placeholder.
    pub(crate) fn name(&mut self, attribute: &str) -> String {
        let placeholder = ["#", attribute].concat();
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    /// Adds a value and returns its placeholder.
    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = [":", &self.values.len().to_string()].concat();
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// Builds the condition that an attribute has this value, or that it is absent if the value is `None`.
    pub(crate) fn equals(&mut self, attribute: &str, value: Option<AttributeValue>) -> String {
        let name = self.name(attribute);
        match value {
            Some(value) => format!("{name} = {}", self.value(value)),
            None => format!("attribute_not_exists({name})"),
        }
    }

    /// Builds the condition that an attribute is there, whatever its value is.
    pub(crate) fn exists(&mut self, attribute: &str) -> String {
        format!("attribute_exists({})", self.name(attribute))
    }

    /// Builds the condition that the row does not exist, or that its ttl has passed at `now`, milliseconds since 1970.
    pub(crate) fn absent(now: i64) -> (String, Self) {
        let mut expression = Self::default();
        let (pk, ttl) = (expression.name("PK"), expression.name(TTL));
        let now = expression.value(number(now / 1000));
        (format!("attribute_not_exists({pk}) OR {ttl} <= {now}"), expression)
    }

    /// Builds the condition that a row is unchanged since it was read as `seen`, in the attributes on which decisions
    /// depend: status, owner, attempt, lease and request to cancel. For a detached run the time of its hand-over
    /// belongs to them, and for a row that may be retried that it still may. A late heartbeat changes `leaseUntil`, and
    /// so defeats a takeover that was decided on the row before it. Making a failure final changes `retryable` alone of
    /// these attributes, and so defeats a claim that was decided before.
    pub(crate) fn unchanged_since(&mut self, seen: &Row) -> String {
        let mut conditions = vec![
            self.equals(STATUS, Some(text(seen.status.as_str()))),
            self.equals(OWNER, seen.owner.as_ref().map(text)),
            self.equals(ATTEMPT, seen.attempt.map(number)),
            self.equals(LEASE_UNTIL, seen.lease_until.map(number)),
            self.equals(CANCEL_REQUESTED, seen.cancel_requested.map(AttributeValue::Bool)),
        ];
        if seen.report_key.is_some() {
            // The lease of a detached run may pass to the agent without changing its end.
            conditions.push(self.equals(DETACHED_AT, seen.detached_at.as_ref().map(text)));
        }
        if seen.retryable {
            conditions.push(self.equals(RETRYABLE, Some(AttributeValue::Bool(true))));
        }
        conditions.join(" AND ")
    }

    /// Builds the condition that the attempt `owner` owns the execution and that it is running.
    pub(crate) fn owned_and_running(&mut self, owner: &str) -> String {
        let owner = self.equals(OWNER, Some(text(owner)));
        format!("{owner} AND {}", self.equals(STATUS, Some(text(Status::Running.as_str()))))
    }

    /// Builds the condition that a detached run is still running, that its report key is the one of `seen`, and that
    /// its request to cancel is as in `seen`.
    pub(crate) fn reportable(&mut self, seen: &Row) -> String {
        [
            self.equals(STATUS, Some(text(Status::Running.as_str()))),
            self.equals(REPORT_KEY, seen.report_key.as_ref().map(text)),
            self.equals(CANCEL_REQUESTED, seen.cancel_requested.map(AttributeValue::Bool)),
        ]
        .join(" AND ")
    }

    /// Builds the condition that an attribute is there and at most `value`.
    pub(crate) fn at_most(&mut self, attribute: &str, value: AttributeValue) -> String {
        format!("{} <= {}", self.name(attribute), self.value(value))
    }

    /// Builds the condition that an attribute is there and greater than `value`.
    pub(crate) fn above(&mut self, attribute: &str, value: AttributeValue) -> String {
        format!("{} > {}", self.name(attribute), self.value(value))
    }

    /// Builds the condition that an attribute is there and less than `value`.
    pub(crate) fn below(&mut self, attribute: &str, value: AttributeValue) -> String {
        format!("{} < {}", self.name(attribute), self.value(value))
    }

    /// Builds an update, `SET a = :a, …`, that sets attributes to values. There must be at least one attribute.
    pub(crate) fn set(&mut self, attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> String {
        let mut update = String::from("SET ");
        let attributes = attributes.into_iter();
        self.names.reserve(attributes.size_hint().0);
        self.values.reserve(attributes.size_hint().0);
        for (index, (attribute, value)) in attributes.enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let (name, value) = (self.name(attribute), self.value(value));
            update.extend([separator, &name, " = ", &value]);
        }
        update
    }

    /// Builds an update that adds a number to an attribute. An absent attribute counts as 0.
    pub(crate) fn add(&mut self, attribute: &str, number: AttributeValue) -> String {
        format!("ADD {} {}", self.name(attribute), self.value(number))
    }

    /// Builds the condition that an attribute is absent or at most `most`.
    pub(crate) fn absent_or_at_most(&mut self, attribute: &str, most: AttributeValue) -> String {
        let name = self.name(attribute);
        format!("(attribute_not_exists({name}) OR {name} <= {})", self.value(most))
    }

    /// Builds the condition that an attribute is absent or less than `most`.
    pub(crate) fn absent_or_below(&mut self, attribute: &str, most: AttributeValue) -> String {
        let name = self.name(attribute);
        format!("(attribute_not_exists({name}) OR {name} < {})", self.value(most))
    }

    /// Builds an update that removes attributes. There must be at least one.
    pub(crate) fn remove(&mut self, attributes: &[&'static str]) -> String {
        let names: Vec<_> = attributes.iter().map(|attribute| self.name(attribute)).collect();
        format!("REMOVE {}", names.join(", "))
    }
}
