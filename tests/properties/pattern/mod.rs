//! The event pattern language: the cases of its documentation, invalid patterns, and a comparison with another matcher.

use agent_trigger::trigger::pattern::Pattern;
use serde_json::Value;

mod bounds;
mod comparison;
mod engine;
mod invalid;
mod naive;
mod pipe;
mod table;

fn matches(pattern: &Value, event: &Value) -> bool {
    Pattern::parse(pattern).unwrap_or_else(|problems| panic!("{pattern}: {problems:?}")).matches(event)
}
