//! The call of the agent and its answer.

mod accepted_ends;
mod agentcore_stop;
mod agents_table;
mod authorization;
mod before_acceptance;
mod by_id;
mod changed_definition;
mod protocols;
mod request;
mod split_answers;
mod streaming;
