//! The call of the agent and its answer.

mod accepted_ends;
mod agentcore_stop;
mod agents_table;
pub(crate) mod authorization;
mod before_acceptance;
mod by_id;
mod captured_answers;
mod changed_definition;
mod heads;
mod protocols;
mod request;
mod split_answers;
pub(crate) mod streaming;
