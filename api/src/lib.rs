//! The control plane of agent-trigger: triggers, schedules and executions over HTTP.

pub mod schedules;
