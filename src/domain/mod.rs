//! Pure types and decisions: no async, no AWS, no HTTP.

pub mod agent_auth;
pub mod agent_definition;
pub mod agent_profile;
pub mod agent_template;
pub mod answer;
pub mod attempt;
pub mod detour;
pub mod ending;
pub(crate) mod endpoint;
pub mod execution;
pub mod failure;
pub mod finish_reason;
pub mod fire;
pub mod health;
pub mod ids;
pub mod platform;
pub mod policy;
pub mod protocol;
pub mod request_format;
pub mod run_lock;
pub mod run_state;
pub mod shared_id;
pub mod task;
pub mod threshold;
pub mod trace;
pub mod trigger_snapshot;
