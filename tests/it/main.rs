//! The built function against real sockets: every numbered case of the fault list, named by its number.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod agent;
mod clients;
mod detached;
mod detours;
mod events;
mod fault_list;
mod lifecycle;
mod messages;
mod publishers;
mod routing;
mod runtime;
mod settle;
mod store;
mod support;
mod telemetry;
mod template;
mod trigger;
