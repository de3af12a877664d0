//! Counts each route's requests to DynamoDB where they arrive. Their number must not grow with what a list holds.

use std::io::Write;

use serde_json::json;

use crate::support::{OnPort, USER, World, id, scheduled, subscribed};

/// The numbers of GetItem and Query of a route, for a user with few triggers that ran rarely, and for one with many that ran
/// often.
type Counts = [[usize; 2]; 2];

const FEW: usize = 2;
const MANY: usize = 30;
/// How many triggers have more for a page of 50 than their share of it, which is 10 (api/src/executions/across.rs). At most 5
/// can.
const AGAIN: usize = 4;

/// The routes that read, with `{id}` for a trigger and `{execution}` for one of its executions. `GET /executions` merges the
/// triggers' own lists: one query for each trigger, a second one for those of which more are on the page, and none for an
/// execution.
const ROUTES: [(&str, Counts); 13] = [
    ("/triggers", [[0, 1]; 2]),
    ("/triggers?type=schedule&enabled=true", [[0, 1]; 2]),
    ("/triggers/{id}", [[1, 0]; 2]),
    ("/triggers/{id}/status", [[1, 1]; 2]),
    ("/triggers/{id}/next-runs?limit=100", [[1, 0]; 2]),
    ("/upcoming-runs?limit=100", [[0, 1]; 2]),
    ("/triggers/{id}/executions?limit=50", [[1, 1]; 2]),
    ("/triggers/{id}/executions?limit=50&status=completed", [[1, 1]; 2]),
    ("/triggers/{id}/executions/{execution}", [[2, 0]; 2]),
    ("/triggers/{id}/executions/{execution}/input", [[3, 0]; 2]),
    ("/executions?limit=50", [[0, 1 + FEW], [0, 1 + MANY + AGAIN]]),
    ("/executions?limit=50&status=failed", [[0, 1 + FEW], [0, 1 + MANY]]),
    ("/events", [[0, 0]; 2]),
];

/// Makes triggers of the user, with executions of each, and returns the ids of the first and of its first execution.
async fn fill(world: &World, api: &OnPort, triggers: usize, executions: usize) -> [String; 2] {
    let mut first = None;
    for n in 0..triggers {
        let trigger = api.create(if n % 2 == 0 { scheduled() } else { subscribed() }).await;
        for k in 0..executions {
            let (hour, minute) = (k / 60, k % 60);
            let at = format!("2026-01-{:02}T{hour:02}:{minute:02}:00Z", n % 28 + 1);
            let execution = world.put_execution(id(&trigger), &at, json!({}));
            first.get_or_insert_with(|| [id(&trigger).to_owned(), execution]);
        }
    }
    let [trigger, execution] = first.unwrap();
    let input = json!({"PK": format!("TRIGGER#{trigger}"), "SK": format!("INPUT#{execution}"),
        "detail": json!({"userId": USER}).to_string()});
    world.stack.dynamodb.put_item(&input);
    [trigger, execution]
}

#[tokio::test]
async fn no_route_asks_for_each_entry_of_its_list() {
    for (at, (triggers, executions)) in [(FEW, 1), (MANY, 60)].into_iter().enumerate() {
        let world = World::start().await;
        let api = world.port().await;
        let [trigger, execution] = fill(&world, &api, triggers, executions).await;
        for (route, counts) in ROUTES {
            let path = route.replace("{id}", &trigger).replace("{execution}", &execution);
            world.stack.dynamodb.clear_requests();
            world.scheduler.clear_requests();
            api.get(&path).await.expect(200);
            let found = ["GetItem", "Query"].map(|operation| world.stack.dynamodb.count(operation));
            // For readers of the log.
            let _ = writeln!(std::io::stdout(), "{triggers} triggers: GET {route}: {found:?}");
            assert_eq!(found, counts[at], "{triggers} triggers: {route}");
            let asked = world.scheduler.requests().len();
            assert_eq!(asked, usize::from(route.ends_with("/status")), "{route} asks Scheduler");
            assert_eq!(
                world.stack.dynamodb.requests().len(),
                found.iter().sum::<usize>(),
                "{route} asks for nothing else"
            );
        }
    }
}

#[tokio::test]
async fn a_search_for_a_status_makes_two_queries_at_most() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    let path = format!("/triggers/{}/executions?limit=5", id(&trigger));
    let put = |from: usize, to: usize| {
        for k in from..to {
            let at = format!("2026-01-01T{:02}:{:02}:{:02}Z", k / 3600, k / 60 % 60, k % 60);
            world.put_execution(id(&trigger), &at, json!({"status": if k == 0 { "failed" } else { "completed" }}));
        }
    };
    // The rows, and then the queries of a search that finds nothing, of one whose only match is the last row, and of one
    // that finds enough among the first.
    for (from, to, expected) in [(0, 99, [1, 1, 1]), (99, 900, [2, 2, 1])] {
        put(from, to);
        for (at, (status, rows)) in [("cancelled", 0), ("failed", 1), ("completed", 5)].into_iter().enumerate() {
            world.stack.dynamodb.clear_requests();
            let page = api.get(&format!("{path}&status={status}")).await.expect(200);
            assert_eq!(page["executions"].as_array().map(Vec::len), Some(rows), "{to} rows, {status}");
            assert_eq!(world.stack.dynamodb.count("Query"), expected[at], "{to} rows, {status}");
        }
    }
    // DynamoDB refuses a list of more than a hundred values.
    world.stack.dynamodb.clear_requests();
    api.get(&format!("{path}&status={}", vec!["completed"; 150].join(","))).await.expect(200);
    let filters = world.stack.dynamodb.requests().into_iter().map(|request| request.json()["FilterExpression"].clone());
    assert_eq!(filters.filter(|filter| !filter.is_null()).collect::<Vec<_>>(), ["#only IN (:only0)"]);
}
