//! Runs AI agents when a schedule or an event fires, and keeps one truthful record of what happened.
//! Begin with [`handler`], the story of one invocation. docs/ARCHITECTURE.md is the map of everything it uses.

pub mod agent;
pub mod agents;
pub mod app;
mod backoff;
pub mod clients;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error_chain;
pub mod events;
pub mod handler;
pub mod invocation;
pub mod json;
pub mod lifecycle;
mod redact;
mod response;
mod routing;
mod run;
pub mod runtime;
mod settle;
mod shutdown;
pub mod store;
pub mod telemetry;
pub mod trigger;
