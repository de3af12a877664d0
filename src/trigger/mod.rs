//! Stored triggers: what a trigger item runs, for which events, and with which prompt.

mod alias;
pub mod bounds;
pub mod check;
mod cidr;
pub mod condition;
pub(crate) mod documented;
pub mod item;
mod matcher;
pub mod pattern;
pub mod prompt;
pub(crate) mod replay;
