//! Three attempts at a fire, and no fourth.

use standins::{CognitoOperation, Lambda, Script, Stack, TokenAnswer};

use crate::support::one_fire::{assert_failed, delivery, execution};
use crate::support::stack;

/// Three attempts fail in the same way; the third is final.
async fn fails_three_times(function: &Lambda, stack: &Stack, error_type: &str) {
    for attempt in 1..=3 {
        let outcome = function.invoke(delivery(false)).await;
        let record = assert_failed(stack, &outcome, error_type, attempt < 3);
        assert_eq!(record["attempt"], attempt);
    }
    let record = execution(stack);
    let calls = stack.agent.call_count();
    let outcome = function.invoke(delivery(false)).await;
    assert_failed(stack, &outcome, error_type, false);
    assert_eq!(execution(stack), record);
    assert_eq!(stack.agent.call_count(), calls, "a final failure is replayed");
    stack.assert_clean();
}

#[tokio::test]
async fn f55_third_refusal_by_a_busy_agent_is_final() {
    let stack = stack().await;
    stack.agent.default(Script::status(429, "busy"));
    let function = stack.function(&[]).await;
    fails_three_times(&function, &stack, "AgentUnavailable").await;
    assert_eq!(stack.agent.call_count(), 9, "three tries in each of three attempts");
}

#[tokio::test]
async fn f55_third_failure_of_the_token_is_final() {
    let stack = stack().await;
    stack.cognito.answer_always(CognitoOperation::Token, TokenAnswer::Status(500));
    let function = stack.function(&[]).await;
    fails_three_times(&function, &stack, "AuthenticationFailed").await;
    assert_eq!(stack.agent.call_count(), 0);
}
