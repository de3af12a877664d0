//! The control plane of agent-trigger: triggers, schedules and executions over HTTP. Begin with [`router`], which lists
//! the routes; `docs/api.md` describes them.

pub mod api;
pub mod auth;
pub mod clients;
pub mod edge;
pub mod error;
pub mod event_sources;
pub mod executions;
pub mod page;
pub mod reply;
pub mod request;
pub mod router;
pub mod schedules;
pub mod settings;
pub mod store;
pub mod times;
pub mod triggers;
