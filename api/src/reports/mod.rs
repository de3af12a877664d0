//! The reports surface: what agents of detached runs say about them. A function of its own, with a role of its own,
//! receives it. It reads and writes the records of executions and sends one kind of message; it can neither call an
//! agent nor read a secret (docs/long-runs.md).
//!
//! `receive` has the order of the checks. What a report does to a record is decided in
//! [`agent_trigger::lifecycle::report`], as for reports that come as events.

pub mod receive;
pub mod settings;
pub mod state;
