//! Clients of the services that the function calls besides DynamoDB and the agent.

pub mod cognito;
pub mod credentials;
pub mod http;
pub mod lambda;
pub(crate) mod random;
pub(crate) mod region;
pub(crate) mod runtime_api;
pub mod sigv4;
pub mod sqs;
pub mod ssm;
pub mod step_functions;
