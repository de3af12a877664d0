//! Case 72: what befalls the Runtime API costs no worker, and none polls without a pause.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::Value;
use standins::{Gate, Invocation, Lambda, Outcome, Script, Stack, Step, runtime_api::scheduled_event};

use crate::support::one_fire::{TIME, assert_completed, fire};
use crate::support::{LIMIT, lines, stack};

const WORKERS: usize = 3;
const SETTING: (&str, &str) = ("AWS_LAMBDA_MAX_CONCURRENCY", "3");

fn event(trigger: &str) -> Invocation {
    Invocation::event(&scheduled_event(trigger, "Count the files", Some(TIME)))
}

/// Runs as many fires at once as there are workers.
async fn all_workers_run(stack: &Stack, function: &Lambda, round: &str) {
    let gate = Gate::new();
    let script = Script::ndjson_happy("three files").before_head(Step::Gate(gate.clone()));
    for _ in 0..WORKERS {
        stack.agent.queue(script.clone());
    }
    let fires = (0..WORKERS).map(|n| function.invoke(event(&format!("{round}-{n}"))));
    let release = async {
        gate.reached_by(WORKERS).await;
        gate.release();
    };
    let (outcomes, ()) = tokio::join!(join_all(fires), release);
    assert!(outcomes.iter().all(Outcome::is_success), "{outcomes:#?}");
    assert!(function.process.is_running());
}

/// The milliseconds that a line of a failed poll names. The log writes whole numbers of 128 bits as texts.
fn pause(line: &str) -> u64 {
    let line: Value = serde_json::from_str(line).unwrap();
    line["pauseMs"].as_str().unwrap().parse().unwrap()
}

/// Waits until `look` gives something.
async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

#[tokio::test]
async fn f72_an_answer_that_is_lost_is_posted_again() {
    let stack = stack().await;
    for concurrency in ["1", "3"] {
        let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", concurrency)]).await;
        for lost in [1, 2] {
            function.api.lose_answers(lost);
            let outcome = function.invoke(event(&format!("{concurrency}-{lost}"))).await;
            assert!(outcome.is_success(), "{outcome:?}");
            assert_eq!(function.api.answers_to_lose(), 0);
            // A failure is answered in another way.
            stack.agent.queue(Script::status(400, "no"));
            function.api.lose_answers(lost);
            let outcome = function.invoke(event(&format!("{concurrency}-{lost}-refused"))).await;
            assert_eq!(outcome.error_type(), "AgentRejected");
        }
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f72_answers_that_cannot_be_posted_cost_no_worker() {
    let stack = stack().await;
    let function = stack.function(&[SETTING]).await;
    // Each answer is tried three times.
    function.api.lose_answers(WORKERS * 3);
    let unanswered = join_all((0..WORKERS).map(|n| function.invoke(event(&format!("unanswered-{n}")))));
    let given_up = until("the end of the tries", || {
        (lines(&function.logs(), "the answer could not be posted\"").len() >= WORKERS).then_some(())
    });
    tokio::select! {
        outcomes = unanswered => panic!("nobody answers: {outcomes:#?}"),
        () = given_up => {}
    }
    for n in 0..WORKERS {
        assert_eq!(stack.dynamodb.executions(&format!("unanswered-{n}"))[0]["status"], "completed");
    }
    all_workers_run(&stack, &function, "next").await;
    stack.assert_clean();
}

#[tokio::test]
async fn f72_refused_polls_cost_no_worker_and_are_repeated_after_pauses() {
    let stack = stack().await;
    let function = stack.function(&[SETTING]).await;
    assert!(function.api.polled(LIMIT).await);
    // The last one is no refusal, but holds no invocation either.
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FORBIDDEN, StatusCode::OK] {
        let before = function.logs().len();
        function.api.refuse_polls(Some(status));
        let pauses = until("the fourth pause of each worker", || {
            let logs = function.logs().split_off(before);
            let pauses: Vec<u64> =
                lines(&logs, "no invocation could be taken").iter().map(|line| pause(line)).collect();
            (pauses.iter().filter(|pause| **pause == 400).count() >= WORKERS).then_some(pauses)
        })
        .await;
        for doubled in [50, 100, 200, 400] {
            let count = pauses.iter().filter(|pause| **pause == doubled).count();
            assert_eq!(count, WORKERS, "each worker pauses twice as long each time: {pauses:?}");
        }
        function.api.refuse_polls(None);
        all_workers_run(&stack, &function, status.as_str()).await;
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f72_a_client_context_is_ignored_whatever_it_holds() {
    let stack = stack().await;
    let contexts: [&[u8]; 4] =
        [b"hunter2 is no JSON", b"hunter2 \xff", br#"{"client":{"hunter2":1}}"#, br#"{"custom":{"a":"hunter2"}}"#];
    for concurrency in ["1", "3"] {
        let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", concurrency)]).await;
        for (n, context) in contexts.iter().enumerate() {
            let fire = event(&format!("{concurrency}-{n}")).request_id(format!("request-{n}")).client_context(*context);
            let outcome = function.invoke(fire).await;
            assert!(outcome.is_success(), "{outcome:?}");
        }
        let logs = function.logs();
        let ignored = lines(&logs, "the client context is ignored");
        assert_eq!(ignored.len(), contexts.len(), "{logs:#?}");
        assert!(ignored.iter().all(|line| line.contains("WARN") && line.contains("request-")), "{ignored:#?}");
        assert!(!logs.iter().any(|line| line.contains("hunter2")), "{logs:#?}");
    }
    let function = stack.function(&[]).await;
    assert_completed(&stack, &function.invoke(fire().client_context("")).await);
    assert!(lines(&function.logs(), "the client context is ignored").is_empty());
}
