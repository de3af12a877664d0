//! Runs AI agents when a schedule or an event fires, and keeps one truthful record of what happened.
//!
//! The story of a run is in [`handler`]. What it uses, from the outside in:
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`config`], [`runtime`] | the settings; the services built from them, and the Lambda runtime around the handler |
//! | [`event`], [`bus`], `fields` | events in: of schedules, and of buses; reading what others wrote |
//! | [`fire`], `identify` | which deliveries are the same fire; its execution |
//! | `subscribers`, `dispatch`, `replay` | whom a bus event is for; handing it on; asking once more |
//! | [`subscription`], [`policy`], `health`, `threshold`, `prompt` | stored triggers: what they run, when, how they fare, how events are counted, what agents are told |
//! | [`pattern`], [`condition`] | which events a trigger asks for (with `matcher`, `query`) |
//! | `claim`, `lease`, `overlap` | taking an execution, holding it, alone of its trigger |
//! | `results`, `unheld`, `settle` | ending one, with what it makes of its trigger; ending what nobody holds |
//! | `run` | the work of an attempt that holds one |
//! | [`execution`], [`turn`] | the decisions behind that, as pure functions |
//! | `record`, `store`, `triggers`, `transact`, `endings`, `expression` | the items' attributes; DynamoDB: executions, triggers, several writes as one; conditions |
//! | `token` | Cognito |
//! | `agent`, [`stream`] | the call; decoding its answer (with `lines`, `sse`, `document`, `json`, `transcript`) |
//! | [`error`], `reply` | failures and successes as Lambda and records tell them |
//! | `metrics`, `trace` | what CloudWatch is told of each invocation; in which trace it runs |
//! | [`http`], `clock`, `backoff`, `redact`, [`log`] | the tools of the above |

mod agent;
mod backoff;
pub mod bus;
mod claim;
mod clock;
pub mod condition;
pub mod config;
mod dispatch;
mod document;
mod endings;
pub mod error;
pub mod event;
pub mod execution;
mod expression;
mod fields;
pub mod fire;
pub mod handler;
mod health;
pub mod http;
mod identify;
mod json;
mod lease;
mod lines;
pub mod log;
mod matcher;
mod metrics;
mod overlap;
pub mod pattern;
pub mod policy;
mod prompt;
mod query;
mod record;
mod redact;
mod replay;
mod reply;
mod results;
mod run;
pub mod runtime;
mod settle;
mod sse;
mod store;
pub mod stream;
mod subscribers;
pub mod subscription;
mod threshold;
mod token;
mod trace;
mod transact;
mod transcript;
mod triggers;
pub mod turn;
mod unheld;
