//! Case 61: items and events that were made to cost too much. Each fails alone, and what it costs is bounded.

use std::time::Duration;

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report_of_age, sqs_batch};
use standins::{Fault, Gate, Invocation, Rule};

use crate::support::one_fire::event_of;
use crate::support::subscribed::{USER, config, order_with, subscribe};
use crate::support::{LIMIT, alone, assert_completed, changed, cpu, execution, gated, stack};

/// The CPU that one event of a bomb may cost in all its invocations: 1 s of a release build, whose unoptimised form is
/// several times slower.
const MOST_CPU_SECONDS: f64 = 5.0;
const MOST_MEMORY_KIB: u64 = 64 * 1024;

/// One part of an item that costs too much, an event that makes it do so, and a part of the error's words.
struct Bomb {
    name: &'static str,
    changes: Value,
    detail: Value,
    said: &'static str,
}

/// A detail of about 200 KB: two equal copies of a list, and a text.
fn large() -> Value {
    let list = vec![json!({"k": "v", "n": 1}); 5_000];
    json!({"a": list, "b": list, "text": "x".repeat(20_000)})
}

fn bombs() -> Vec<Bomb> {
    let numbers = || json!({"list": vec![1; 100_000]});
    let texts = || json!({"list": vec!["aaaaaaaaaaaaaaab"; 10_000]});
    let placeholders = |query: &str, times: usize| json!({"prompt": format!("{{{{ {query} }}}}").repeat(times)});
    let names = |query: &str, times: usize| {
        let names: serde_json::Map<_, _> = (0..times).map(|at| (format!("name-{at}"), json!(query))).collect();
        json!({ "inputMapping": names })
    };
    let condition = |query: &str| json!({"field": query, "operator": "eq", "value": "x"});
    let conditions = |query: &str, times: usize| config(json!({"condition": vec![condition(query); times]}));
    let matchers = |times: usize| (0..times).map(|at| json!({"wildcard": format!("*a*{at}")})).collect::<Vec<_>>();
    let pattern = |times: usize| config(json!({"eventPattern": {"detail": {"list": matchers(times)}}}));
    let multiplied = format!("$.detail[{0}][{0}]", ["*"; 10].join(","));
    let compared = "$.detail.a[?$.detail.a == $.detail.b]";
    let nested = format!("$[?@[?{}@.a]]", "@.a||".repeat(190));
    let bomb = |name, changes, detail, said| Bomb { name, changes, detail, said };
    vec![
        bomb("2,000 placeholders", placeholders("$.detail", 2_000), large(), "at most 100 placeholders"),
        bomb("100 placeholders of it all", placeholders("$.detail", 100), large(), "over 262144 bytes"),
        bomb("a placeholder that multiplies", placeholders(&multiplied, 1), numbers(), "too many steps"),
        bomb("a placeholder of each value", placeholders("$..*", 1), large(), "over 262144 bytes"),
        bomb("a placeholder that compares", placeholders(compared, 1), large(), "too many steps"),
        bomb("100 placeholders of long queries", placeholders(&nested, 100), large(), "too many steps"),
        bomb("1,000 mapped names", names("$.detail", 1_000), large(), "at most 100 names, not 1000"),
        bomb("100 mapped names of it all", names("$.detail", 100), large(), "over 262144 bytes"),
        bomb("a mapped name that multiplies", names(&multiplied, 1), numbers(), "too many steps"),
        bomb("a mapped name that compares", names(compared, 1), large(), "too many steps"),
        bomb("8,000 matchers", pattern(8_000), texts(), "at most 2000 matchers, not 8000"),
        bomb("2,000 matchers", pattern(2_000), texts(), "more than 5000000 steps"),
        bomb("5,000 conditions", conditions("detail.a", 5_000), large(), "at most 100 conditions, not 5000"),
        bomb("a condition that multiplies", conditions(&multiplied, 1), numbers(), "more than 5000000 steps"),
        bomb("a condition that compares", conditions(compared, 1), large(), "more than 5000000 steps"),
        bomb("open braces", json!({"prompt": format!("{}{{{{ $..[ }}}}", "{{".repeat(150_000))}), large(), "RFC 9535"),
    ]
}

#[tokio::test]
async fn f61_what_costs_too_much_fails_alone() {
    let _machine = alone().await;
    let stack = stack().await;
    // One process has all of them, so that its peak is that of the worst.
    let function = stack.function(&[]).await;
    let mut worst = (0.0, "");
    for (at, Bomb { name, changes, detail, said }) in bombs().into_iter().enumerate() {
        let source = format!("bomb-{at}");
        let of_source = |changes: Value| changed(changes, json!({"GSI2PK": format!("EVENTSOURCE#{source}")}));
        let (bad, good) = (format!("bad-{at}"), format!("good-{at}"));
        subscribe(&stack, &bad, of_source(changes));
        subscribe(&stack, &good, of_source(json!({})));
        let event = order_with(json!({"source": source, "detail": detail}));
        let size = event.to_string().len();
        assert!((150_000..260_000).contains(&size), "{name}: {size} bytes");
        let (before, dispatched) = (cpu(&function), stack.lambda.dispatched().len());
        let outcome = function.invoke(Invocation::event(&event)).await;
        assert_eq!(outcome.body()["dispatched"], 2, "{name}: {outcome:?}");
        for invoked in stack.lambda.dispatched().split_off(dispatched) {
            let outcome = function.invoke(Invocation::new(invoked.payload.clone())).await;
            let is_bad = invoked.json()["_dispatch"]["triggerId"] == json!(bad);
            assert_eq!(outcome.error_type(), if is_bad { "InvalidTrigger" } else { "" }, "{name}: {outcome:?}");
        }
        let (row, ran) = (execution(&stack, &bad), execution(&stack, &good));
        assert_eq!((&row["status"], &row["retryable"]), (&json!("failed"), &json!(false)), "{name}: {row:#}");
        assert!(row["error"].as_str().unwrap().contains(said), "{name}: {row:#}");
        assert_eq!(ran["status"], "completed", "{name}: {ran:#}");
        let seconds = cpu(&function) - before;
        eprintln!("{name}: {seconds:.2} s of CPU, {} KiB at most so far", function.process.peak_rss_kib().unwrap());
        worst = if seconds > worst.0 { (seconds, name) } else { worst };
    }
    assert_eq!(stack.agent.call_count(), bombs().len());
    assert!(worst.0 < MOST_CPU_SECONDS, "{worst:?}");
    let peak = function.process.peak_rss_kib().unwrap();
    assert!(peak < MOST_MEMORY_KIB, "{peak} KiB");
    stack.assert_clean();
}

#[tokio::test]
async fn f61_a_bomb_that_is_alone_fails_in_place() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (at, Bomb { name, changes, detail, said }) in bombs().into_iter().enumerate().filter(|(at, _)| at % 4 == 3) {
        let (source, id) = (format!("bomb-{at}"), format!("bad-{at}"));
        subscribe(&stack, &id, changed(changes, json!({"GSI2PK": format!("EVENTSOURCE#{source}")})));
        let event = order_with(json!({"source": source, "detail": detail}));
        for _ in 0..2 {
            let outcome = function.invoke(Invocation::event(&event)).await;
            assert_eq!(outcome.error_type(), "InvalidTrigger", "{name}: {outcome:?}");
        }
        let row = execution(&stack, &id);
        assert!(row["error"].as_str().unwrap().contains(said), "{name}: {row:#}");
    }
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}

/// Conditions that take about four million steps on a [`costly_event`], and match.
fn costly_conditions() -> Vec<Value> {
    let all =
        json!({"field": "$.detail.list[?@.k == 'w' || @.k == 'x' || @.k == 'v'].n", "operator": "ne", "value": 2});
    vec![all; 9]
}

/// The changes of a trigger whose filters take about four million steps on a [`costly_event`], and do not match.
fn costly() -> Value {
    let mut conditions = costly_conditions();
    conditions.push(json!({"field": "detail.list.0.n", "operator": "eq", "value": 2}));
    config(json!({"condition": conditions}))
}

fn costly_event() -> Value {
    order_with(json!({"detail": {"list": vec![json!({"k": "v", "n": 1}); 10_000]}}))
}

/// A neighbour who stores many triggers that each cost as much as they may keeps nobody else's from running.
#[tokio::test]
async fn f61_many_triggers_that_each_cost_as_much_as_they_may_hold_up_nobody() {
    const MANY: usize = 60;
    let _machine = alone().await;
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let costly = costly();
    for at in 0..MANY {
        subscribe(&stack, &format!("costly-{at:03}"), costly.clone());
    }
    // In the order of the index they come last.
    subscribe(&stack, "good", json!({"GSI2SK": "USER#~"}));
    subscribe(
        &stack,
        "picky",
        changed(
            config(json!({"condition": {"field": "detail.list.0.n", "operator": "eq",
        "value": 2}})),
            json!({"GSI2SK": "USER#~2"}),
        ),
    );
    let event = costly_event();
    let outcome = function.invoke(Invocation::event(&event)).await;
    // A third of them were asked, and do not match. The others have taken too much to be asked.
    let counts = outcome.body();
    let (filtered, dispatched) = (counts["filtered"].as_u64().unwrap(), counts["dispatched"].as_u64().unwrap());
    assert!((20..=35).contains(&filtered) && filtered + dispatched == MANY as u64 + 2, "{outcome:?}");
    stack.lambda.retries(0);
    stack.pool(2, &[]);
    stack.lambda.idle().await;
    assert_eq!(execution(&stack, "good")["status"], "completed");
    assert_eq!((stack.dynamodb.executions("picky").len(), stack.agent.call_count()), (0, 1));
    assert_eq!(stack.dynamodb.executions("costly-000").len(), 0);
    let last = execution(&stack, &format!("costly-{:03}", MANY - 1));
    assert_eq!((&last["errorType"], &last["retryable"]), (&json!("InvalidTrigger"), &json!(false)), "{last:#}");
    assert!(last["error"].as_str().unwrap().contains("where those of all triggers take more than"), "{last:#}");
    stack.assert_clean();
}

/// The filters of the only trigger that is due are asked again if it was edited a moment ago. What the others took
/// meanwhile does not count against it.
#[tokio::test]
async fn f61_a_costly_trigger_that_was_edited_runs_beside_others_that_took_all_steps() {
    const OTHERS: usize = 40;
    let _machine = alone().await;
    let stack = stack().await;
    let function = stack.function(&[]).await;
    // In the order of the index it comes first.
    subscribe(
        &stack,
        "a-good",
        changed(config(json!({"condition": costly_conditions()})), json!({"GSI2SK": "USER#!"})),
    );
    // Whatever their filters take, these are skipped at most.
    for at in 0..OTHERS {
        subscribe(&stack, &format!("costly-{at:03}"), changed(costly(), json!({"enabled": false})));
    }
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("Query", Fault::GateAfter(gate.clone())).once());
    let event = costly_event();
    let editing = async {
        gate.reached().await;
        stack.dynamodb.update(&format!("TRIGGER#{USER}"), "TRIGGER#a-good", &json!({"modelId": "model-new"}));
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(Invocation::event(&event).timeout(LIMIT)), editing);
    assert_completed(&outcome, &execution(&stack, "a-good"));
    assert_eq!(stack.agent.calls()[0].body["modelId"], "model-new");
    stack.assert_clean();
}

/// The runs of a process would lose their leases if nothing else had its turn while an event is decided.
#[tokio::test]
async fn f50_a_run_has_its_turns_while_a_costly_event_is_decided() {
    let _machine = alone().await;
    let stack = stack().await;
    let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]).await;
    for at in 0..60 {
        subscribe(&stack, &format!("costly-{at:03}"), costly());
    }
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let event = Invocation::event(&costly_event()).timeout(LIMIT);
    let run = Invocation::event(&event_of("t")).timeout(LIMIT);
    let beside = async {
        let asked = async {
            while stack.dynamodb.count("Query") == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, asked).await.expect("the event's triggers are asked for");
        function.invoke(run).await
    };
    let called = async {
        gate.reached().await;
        let handed_on = stack.lambda.requests();
        gate.release();
        handed_on
    };
    let (decided, ran, handed_on) = tokio::join!(function.invoke(event), beside, called);
    assert!(decided.is_success(), "{decided:?}");
    assert_completed(&ran, &execution(&stack, "t"));
    assert_eq!(handed_on, 0, "the event was decided before the run had its turn");
    assert!(stack.lambda.requests() > 0);
    stack.assert_clean();
}

#[tokio::test]
async fn f61_settling_asks_filters_alone() {
    let _machine = alone().await;
    let stack = stack().await;
    let bombs = bombs();
    for (at, bomb) in bombs.iter().enumerate() {
        let changes = changed(bomb.changes.clone(), json!({"GSI2PK": "EVENTSOURCE#bombs"}));
        subscribe(&stack, &format!("bad-{at}"), changes);
    }
    let function = stack.function(&[]).await;
    let of_bombs = Invocation::event(&order_with(json!({"source": "bombs", "detail": large()})));
    let of_another = Invocation::event(&event_of("another"));
    let bodies = [&of_bombs, &of_another].map(|invocation| notification(&report_of_age(invocation).to_string()));
    let batch = || sqs_batch([("bombs", bodies[0].as_str()), ("another", bodies[1].as_str())]).timeout(LIMIT);
    let before = cpu(&function);
    // A write that a starved machine did not do in time leaves the message for another delivery, as a queue would bring it.
    let mut left = failed_messages(&function.invoke(batch()).await);
    for _ in 0..5 {
        if !left.is_empty() {
            left = failed_messages(&function.invoke(batch()).await);
        }
    }
    assert_eq!(left, Vec::<String>::new());
    eprintln!("{} bombs in a batch: {:.2} s of CPU", bombs.len(), cpu(&function) - before);
    assert_eq!(execution(&stack, "another")["status"], "failed");
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}
