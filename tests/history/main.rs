//! Tests of the `history` example: its modules, whose unit tests run here, and the built program against a table.
//!
//! The modules are tested here because an example with `test = true` is no longer built as the program that the second
//! half needs.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]
#![allow(dead_code, unreachable_pub, reason = "what only the program calls")]

#[path = "../../examples/history/execution.rs"]
mod execution;
#[path = "../../examples/history/list.rs"]
mod list;
#[path = "../../examples/history/options.rs"]
mod options;
mod program;
#[path = "../../examples/history/show.rs"]
mod show;
#[path = "../../examples/history/source.rs"]
mod source;
#[path = "../../examples/history/words.rs"]
mod words;
