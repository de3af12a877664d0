//! The event pattern language: the cases of its documentation, invalid patterns, and a comparison with another matcher.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

use agent_trigger::trigger::pattern::Pattern;
use serde_json::Value;

mod bounds;
mod invalid;
mod naive;
mod pipe;
mod properties;
mod table;

fn matches(pattern: &Value, event: &Value) -> bool {
    Pattern::parse(pattern).unwrap_or_else(|problems| panic!("{pattern}: {problems:?}")).matches(event)
}
