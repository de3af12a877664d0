//! The hook function dies after each of its steps, and the sender tries again: the event runs once.

use reqwest::StatusCode;
use serde_json::json;
use standins::{Fault, Injected, Rule};

use crate::hooks::TRIGGER;
use crate::support::{LIMIT, World};

/// A step at which the process dies: a request to a service that is applied, or not, and never answered.
#[derive(Clone, Copy, Debug)]
enum Step {
    Table(&'static str, usize),
    Lambda,
    Secrets,
}

fn inject(world: &World, step: Step, is_applied: bool) -> Injected {
    let fault = if is_applied { Fault::ApplyThenHang } else { Fault::Hang };
    match step {
        Step::Table(operation, nth) => world.stack.dynamodb.inject(Rule::new(operation, fault).after(nth)),
        Step::Lambda => world.stack.lambda.inject(Rule::new("Invoke", fault)),
        Step::Secrets => world.stack.ssm.inject(Rule::new("GetParameter", fault)),
    }
}

#[tokio::test]
async fn a_delivery_whose_receiver_dies_after_any_step_runs_once() {
    let steps = [
        Step::Table("GetItem", 0),
        Step::Table("GetItem", 1),
        Step::Secrets,
        // The rate, the memory of the delivery, its receipt, and the note that it was dispatched.
        Step::Table("UpdateItem", 0),
        Step::Table("PutItem", 0),
        Step::Table("PutItem", 1),
        Step::Lambda,
        Step::Table("UpdateItem", 1),
    ];
    for step in steps {
        for is_applied in [false, true] {
            let world = World::start().await;
            world.put_hook(json!({"ratePerMinute": 100}), json!({}));
            let hooks = world.hooks().await;
            let rule = inject(&world, step, is_applied);
            let killed = async {
                while rule.hits() == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                // What the stand-in was told to apply is applied when its answer would be due.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                hooks.process.kill();
                hooks.process.wait_exit(LIMIT).await;
            };
            tokio::select! {
                answered = hooks.try_deliver("msg_1", r#"{"ref": "main"}"#) => {
                    assert!(answered.is_err(), "{step:?} has no step: {answered:?}");
                    hooks.process.wait_exit(LIMIT).await;
                }
                () = killed => {}
            }
            rule.remove();
            let hooks = world.hooks().await;
            let mut ids = Vec::new();
            for _ in 0..2 {
                let (status, answer) = hooks.deliver("msg_1", r#"{"ref": "main"}"#).await;
                assert_eq!(status, StatusCode::ACCEPTED, "{step:?} {is_applied} {answer}");
                ids.push(answer["executionId"].clone());
            }
            world.stack.pool(2, &[]);
            world.stack.lambda.idle().await;
            let executions = world.stack.dynamodb.executions(TRIGGER);
            assert_eq!((executions.len(), world.stack.agent.call_count()), (1, 1), "{step:?} {is_applied}");
            assert!(ids.iter().all(|id| *id == executions[0]["executionId"]), "{step:?} {is_applied}");
            let receipts = world.receipts();
            assert_eq!(receipts.len(), 1, "{step:?} {is_applied}: {receipts:#?}");
            assert!(receipts[0]["dispatchedAt"].is_string(), "{step:?} {is_applied}: {receipts:#?}");
        }
    }
}
