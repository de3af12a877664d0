//! The built function against real sockets: every numbered case of the fault list, named by its number.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod acceptance;
mod agent_request;
mod bus_events;
mod bus_settle;
mod cancel_other;
mod chains;
mod coverage;
mod dispatch;
mod emf;
mod events;
mod fan_out;
mod frozen;
mod health;
mod health_faults;
mod invalid_triggers;
mod life;
mod limits;
mod metrics;
mod metrics_of_events;
mod one_fire;
mod outbox;
mod overlap;
mod process;
mod records;
mod replay;
mod settle;
mod stop;
mod stored;
mod streaming;
mod subscribed;
mod support;
mod threshold;
mod token;
mod told_once;
mod truth;
