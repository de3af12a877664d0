//! Connections that were kept and died while the environment was frozen.

use std::time::Duration;

use harness::relay::{Death, Relays};
use standins::CognitoOperation::Token;
use standins::{Invocation, Lambda, Outcome};

use crate::support::{assert_completed, execution, stack};

async fn fire(function: &Lambda, trigger_id: &str) -> Outcome {
    function.invoke(Invocation::scheduled(trigger_id, "Count the files", "2026-01-31T07:00:00Z")).await
}

/// A run, a freeze in which every kept connection dies and the token runs out, and the run after it.
async fn completes_after(death: Death) {
    let stack = stack().await;
    let relays = Relays::start(&stack).await;
    stack.cognito.set_expires_in(1);
    let function = stack.function_with(&relays.env(&stack)).await;
    let outcome = fire(&function, "before").await;
    assert_completed(&outcome, &execution(&stack, "before"));

    function.freeze();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(relays.sever(death).await >= 2, "connections to both services were kept");
    function.thaw();
    let outcome = fire(&function, "after").await;
    let row = execution(&stack, "after");
    assert_completed(&outcome, &row);
    assert_eq!(row["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 2, "one call for each run");
    assert_eq!((stack.cognito.count(Token), stack.cognito.issued_tokens().len()), (2, 2), "one token for each run");
    stack.assert_clean();
}

#[tokio::test]
async fn connections_closed_during_a_freeze_cost_no_run() {
    completes_after(Death::Closed).await;
}

#[tokio::test]
async fn connections_reset_after_a_freeze_cost_no_run() {
    completes_after(Death::Reset).await;
}

#[tokio::test]
async fn connections_forgotten_during_a_freeze_cost_no_run() {
    completes_after(Death::Silent).await;
}
