//! Case 71: SIGTERM, with which Lambda announces the end of an environment on Managed Instances.

use serde_json::{Value, json};
use standins::{CognitoOperation, Gate, Invocation, Lambda, Outcome, Stack, TokenAnswer, runtime_api::scheduled_event};

use crate::support::one_fire::{
    TIME, TRIGGER, assert_completed, assert_failed, delivery, execution, fire, short_lease,
};
use crate::support::{LIMIT, gated, stack};

/// Waits until the process has ended, which it does in order.
async fn ends(function: &Lambda) {
    let status = function.process.wait_exit(LIMIT).await.expect("it must end");
    assert!(status.success(), "{status}: {:#?}", function.logs());
}

/// Starts a fire whose run waits for its token, and gives its outcome after SIGTERM.
async fn terminated_before_the_call(stack: &Stack) -> Outcome {
    stack.cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Hang]);
    let function = stack.function(&[short_lease()]).await;
    let terminate = async {
        stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |record| record["status"] == "running").await;
        function.process.terminate();
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(false)), terminate);
    ends(&function).await;
    outcome
}

/// Starts a fire whose run reads its answer, and gives its outcome after SIGTERM.
async fn terminated_in_mid_stream(stack: &Stack, rerun: bool) -> Outcome {
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[short_lease()]).await;
    let terminate = async {
        gate.reached().await;
        function.process.terminate();
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(rerun)), terminate);
    ends(&function).await;
    outcome
}

#[tokio::test]
async fn f71_sigterm_in_mid_stream_ends_the_run_for_good() {
    let stack = stack().await;
    let outcome = terminated_in_mid_stream(&stack, false).await;
    let record = assert_failed(&stack, &outcome, "Interrupted", false);
    let again = stack.function(&[short_lease()]).await.invoke(delivery(false)).await;
    assert_failed(&stack, &again, "Interrupted", false);
    assert_eq!(execution(&stack), record, "what is final stays as it is");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f71_sigterm_stops_a_session_of_the_executions_own_on_agentcore() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let url = format!("{}/runtimes/arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/a", stack.agent.url());
    let function = stack.function(&[short_lease(), ("AGENT_API_URL", &url)]).await;
    let terminate = async {
        gate.reached().await;
        function.process.terminate();
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(false)), terminate);
    ends(&function).await;
    let record = assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!((&record["stopConfirmed"], stack.agent.stops().len()), (&json!(true), 1), "{record:#}");
}

#[tokio::test]
async fn f71_sigterm_before_the_call_leaves_the_run_to_the_next_attempt() {
    let stack = stack().await;
    let outcome = terminated_before_the_call(&stack).await;
    assert_failed(&stack, &outcome, "Interrupted", true);
    assert_eq!(stack.agent.call_count(), 0);
    let again = stack.function(&[short_lease()]).await.invoke(delivery(false)).await;
    assert_eq!(assert_completed(&stack, &again)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f71_sigterm_in_mid_stream_is_run_again_where_that_is_wanted() {
    let stack = stack().await;
    let outcome = terminated_in_mid_stream(&stack, true).await;
    assert_failed(&stack, &outcome, "Interrupted", true);
    let again = stack.function(&[short_lease()]).await.invoke(delivery(true)).await;
    assert_eq!(assert_completed(&stack, &again)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f71_sigterm_ends_every_run_in_flight() {
    let triggers = ["alpha", "bravo", "charlie"];
    let gate = Gate::new();
    let stack = stack().await;
    for _ in triggers {
        stack.agent.queue(gated(&gate));
    }
    let function = stack.function(&[short_lease(), ("AWS_LAMBDA_MAX_CONCURRENCY", "4")]).await;
    let invoked = triggers
        .map(|trigger| function.invoke(Invocation::event(&scheduled_event(trigger, "Count the files", Some(TIME)))));
    let terminate = async {
        gate.reached_by(triggers.len()).await;
        function.process.terminate();
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(invoked), terminate);
    ends(&function).await;
    for (trigger, outcome) in triggers.iter().zip(outcomes) {
        let record: Value = stack.dynamodb.executions(trigger).remove(0);
        assert_eq!((&record["status"], &record["errorType"]), (&json!("failed"), &json!("Interrupted")), "{record:#?}");
        assert_eq!((&record["retryable"], outcome.error_type()), (&json!(false), "Interrupted"));
    }
    assert_eq!(stack.agent.call_count(), triggers.len());
    stack.assert_clean();
}

#[tokio::test]
async fn f71_sigterm_ends_an_idle_process_at_once() {
    let stack = stack().await;
    for concurrency in ["1", "3"] {
        let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", concurrency)]).await;
        assert!(function.api.polled(LIMIT).await);
        function.process.terminate();
        ends(&function).await;
        assert!(!function.logs().iter().any(|line| line.contains("in time")), "{:#?}", function.logs());
    }
}

#[tokio::test]
async fn f71_what_cannot_end_in_time_is_left_to_lambdas_retry() {
    let stack = stack().await;
    // This delivery waits for the lease of another attempt of its request, and holds nothing.
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let living = stack.function(&[]).await;
    let waiting = stack.function(&[]).await;
    let run = living.invoke(delivery(false));
    let second = async {
        gate.reached().await;
        let claims = stack.dynamodb.count("PutItem");
        let terminate = async {
            // Its claim was refused once there are two.
            let refused = async {
                while stack.dynamodb.count("PutItem") < claims + 1 {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(LIMIT, refused).await.expect("the second claim is made");
            waiting.process.terminate();
        };
        let (outcome, ()) = tokio::join!(waiting.invoke(delivery(false)), terminate);
        ends(&waiting).await;
        gate.release();
        outcome
    };
    let (outcome, second) = tokio::join!(run, second);
    assert_eq!(second, Outcome::Died);
    assert_completed(&stack, &outcome);
    let again = stack.function(&[]).await.invoke(fire()).await;
    assert!(again.is_success());
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}
