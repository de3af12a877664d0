//! Lambda Managed Instances: many runs share one process, each with 90 minutes (docs/long-runs.md).

use std::time::Duration;

use futures_util::future::join_all;
use standins::{Gate, Invocation, Outcome, Script, Step, runtime_api::scheduled_event};

use crate::support::one_fire::TIME;
use crate::support::{alone, crowd, execution, lease, stack};

const RUNS: usize = 64;
const NINETY_MINUTES: Duration = Duration::from_secs(5_400);

#[tokio::test]
async fn sixty_four_runs_of_ninety_minutes_share_a_process() {
    let _machine = alone().await;
    let stack = stack().await;
    let concurrency = RUNS.to_string();
    // What the template sets for its alarms.
    let settings = [("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.as_str()), ("METRICS_SERVICE", "the-other-function")];
    // With shorter leases, a busy machine would have no time for anything but the heartbeats of so many runs.
    let function = stack.function(&[settings[0], settings[1], lease(9)]).await;
    let gate = Gate::new();
    let script = Script::ndjson_happy("three files").midway(Step::Gate(gate.clone()));
    for _ in 0..RUNS {
        stack.agent.queue(script.clone());
    }
    let event = |n: usize| scheduled_event(&format!("run-{n}"), "Count the files", Some(TIME));
    // Each arrival has time of its own on a slow machine.
    let arrived = async |count: usize| {
        for arrivals in 1..=count {
            gate.reached_by(arrivals).await;
        }
    };
    let runs = (0..RUNS).map(async |n| {
        // If all began at once, a slow machine's table could not answer them within the 2 s that the function waits.
        arrived(n.saturating_sub(crowd(8))).await;
        function.invoke(Invocation::event(&event(n)).timeout(NINETY_MINUTES)).await
    });
    let release = async {
        // All are in the middle of their answers at the same time, so nobody waits for another.
        arrived(RUNS).await;
        // Each has heartbeats of its own.
        let lease_of = |n: usize| execution(&stack, &format!("run-{n}"))["leaseUntil"].as_i64().unwrap();
        let before: Vec<_> = (0..RUNS).map(lease_of).collect();
        for (n, before) in before.into_iter().enumerate() {
            while lease_of(n) == before {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        gate.release();
    };
    let (outcomes, ()) = tokio::join!(join_all(runs), release);
    assert!(outcomes.iter().all(Outcome::is_success), "{outcomes:#?}");
    assert_eq!(stack.agent.call_count(), RUNS);
    for n in 0..RUNS {
        assert_eq!(execution(&stack, &format!("run-{n}"))["status"], "completed");
    }
    let logs = function.process.logs();
    let metrics: Vec<_> = logs.iter().filter(|line| line.contains("\"_aws\"")).collect();
    assert!(!metrics.is_empty() && metrics.iter().all(|line| line.contains("the-other-function")), "{metrics:#?}");
    stack.assert_clean();
}
