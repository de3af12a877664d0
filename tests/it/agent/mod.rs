//! The call of the agent and its answer.

mod agentcore_stop;
mod before_acceptance;
mod request;
mod split_answers;
mod streaming;
