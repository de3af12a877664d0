//! What every case needs: the stand-ins around the binary that this test run built.

use standins::Stack;

/// The stand-ins, with the function's own binary.
pub(crate) async fn stack() -> Stack {
    Stack::start().await.with_binary(env!("CARGO_BIN_EXE_agent-trigger"))
}
