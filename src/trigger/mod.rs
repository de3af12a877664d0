//! TriggerSnapshot triggers: what an item says it runs, for which events, and what an agent is told.

pub mod condition;
pub(crate) mod documented;
pub mod item;
mod matcher;
pub mod pattern;
pub(crate) mod prompt;
pub(crate) mod replay;
