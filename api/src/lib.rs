//! The control plane of agent-trigger: triggers, schedules and executions over HTTP. Begin with [`router`], which lists
//! the routes; `docs/api.md` describes them. `hooks` is a second surface of the same binary, which receives webhooks.
//!
//! `edge` has the two ways in, `auth` decides who calls, and `schedules` knows when an expression fires. The order of
//! each write is in the file of its route, and `triggers::sync` makes Scheduler agree with an item.
//!
//! What an item must look like is not decided here: `agent_trigger::trigger::check` reads it as the function does.

pub mod api;
pub mod auth;
pub mod clients;
pub mod edge;
pub mod error;
pub mod event_sources;
pub mod executions;
pub mod hooks;
pub mod page;
pub mod reply;
pub mod reports;
pub mod request;
pub mod router;
pub mod schedules;
pub mod settings;
pub mod site;
pub mod store;
pub mod times;
pub mod triggers;
pub mod webhooks;
