//! Stand-ins for every service the function talks to: the Lambda Runtime API and the Lambda API, Cognito, an agent,
//! DynamoDB, and the pipe from its stream to an event bus.
//!
//! They listen on real sockets of 127.0.0.1 (port 0 unless set), stop when dropped, and can be made to fail in the ways
//! in which the real services fail. The tests and the local run start the real binary against them:
//!
//! ```no_run
//! # async fn example() {
//! use standins::{Invocation, Stack, Script};
//!
//! let stack = Stack::start().await;
//! stack.agent.queue(Script::ndjson_happy("three files"));
//! let function = stack.function(&[("LEASE_SECONDS", "3")]).await;
//! let outcome = function.invoke(Invocation::scheduled("trigger-1", "Count the files", "2026-01-01T00:00:00Z")).await;
//! assert!(outcome.is_success());
//! let executions = stack.dynamodb.executions("trigger-1");
//! assert_eq!(executions[0]["status"], "completed");
//! stack.assert_clean();
//! # }
//! ```

pub mod agent;
pub mod bus;
pub mod changes;
pub mod cognito;
pub mod destination;
pub mod dynamodb;
pub mod faults;
mod front;
pub mod function;
pub mod gate;
mod http1;
pub mod input_template;
mod items;
pub mod lambda_api;
mod net;
mod oauth;
pub mod pace;
pub mod pipe;
mod play;
mod pool;
pub mod protocols;
pub mod relay;
pub mod rule;
pub mod runtime_api;
pub mod scheduler;
pub mod script;
pub mod scripts;
pub mod sigv4;
pub mod sqs;
pub mod ssm;
pub mod stack;
pub mod template;

pub use agent::{Agent, AgentRequest};
pub use bus::{bus_event, own_event};
pub use changes::Changes;
pub use cognito::{Cognito, CognitoOperation, TokenAnswer};
pub use dynamodb::{AGENTS_TABLE, DynamoDb, INDEX, StoreRequest, TABLE};
pub use faults::{Fault, Injected, Rule};
pub use function::Function;
pub use gate::Gate;
pub use lambda_api::{AsyncInvocation, FUNCTION_ARN, LambdaApi};
pub use pipe::{Pipe, PipeDefinition};
pub use protocols::ProtocolScripts;
pub use relay::{Relay, Relayed};
pub use rule::RuleDefinition;
pub use runtime_api::{Invocation, Outcome, RuntimeApi};
pub use scheduler::{SCHEDULE_GROUP, SCHEDULER_ROLE, Scheduler};
pub use script::{Framing, Script, Step};
pub use sigv4::{Signed, Verifier};
pub use sqs::{SentMessage, Sqs};
pub use ssm::Ssm;
pub use stack::{Lambda, Stack, assert_no_secrets};
pub use template::Template;
