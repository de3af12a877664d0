//! The call of the agent and its answer.

mod agentcore_stop;
mod authorization;
mod before_acceptance;
mod by_id;
mod protocols;
mod request;
mod split_answers;
mod streaming;
