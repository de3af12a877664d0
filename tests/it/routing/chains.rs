//! Executions that follow one another: what ends is announced, and triggers are subscribed to it.

use std::path::Path;

use agent_trigger::trigger::pattern::Pattern;
use serde_json::{Value, json};
use standins::{Invocation, Pipe, Script, Stack, Template, own_event};

use crate::support::subscribed::{
    PROMPT, USER, assert_skipped, assert_summary, config, dispatched_to, invocation, subscribe,
};
use crate::support::{assert_absent, assert_completed, changed, execution, stack};

const TIME: &str = "2026-01-31T07:00:00Z";
/// Computed with Python's hashlib from `execution`, `trigger-1` and the id of the execution, joined by NUL.
const FOLLOWED: &str = "019c12d9-f580-75ef-abe2-ba7fe30c8726";
const FOLLOWER: &str = "019c12da-95ff-7f67-86db-5ad1bd84686d";

/// The template's own pipe, which sends everything twice, and behind it the template's own rules.
fn outbox(stack: &Stack) -> Pipe {
    let template = Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap();
    let definition = template.pipe().unwrap();
    let matcher = definition.matcher(|pattern| {
        let pattern = Pattern::parse(pattern).unwrap();
        move |record: &Value| pattern.matches(record)
    });
    let rules = template.rules("AgentTriggerFunction").into_iter();
    let rules: Vec<_> = rules
        .filter(|rule| rule.bus.as_deref() == Some("OutboxBus"))
        .map(|rule| (Pattern::parse(&rule.pattern).unwrap(), rule))
        .collect();
    assert_eq!(rules.len(), 2);
    let lambda = stack.lambda.clone();
    Pipe::start(&stack.dynamodb, definition.twice(), matcher, move |event| {
        for (_, rule) in rules.iter().filter(|(pattern, _)| pattern.matches(&event)) {
            lambda.submit(Invocation::new(rule.payload(&event).unwrap()));
        }
    })
}

/// Subscribes a trigger to the ends of executions, with these members.
fn follow(stack: &Stack, id: &str, pattern: &Value, changes: Value) {
    let subscription = json!({"GSI2PK": "EVENTSOURCE#agent-trigger"});
    let config = config(json!({"eventSourceId": "agent-trigger", "eventPattern": pattern}));
    subscribe(stack, id, changed(changed(subscription, config), changes));
}

fn completed(trigger_id: &str) -> Value {
    json!({"detail-type": ["Execution Status Change"], "detail": {"triggerId": [trigger_id], "status": ["completed"]}})
}

/// Asserts that each end in the table was announced twice, as the schema says.
fn assert_announced(stack: &Stack, pipe: &Pipe) {
    assert_eq!(pipe.failures(), Vec::<String>::new());
    let ended = stack.dynamodb.scan().into_iter().filter(|item| item["SK"].as_str().unwrap().starts_with("EXECUTION#"));
    let ended: Vec<_> = ended.collect();
    let events = pipe.events();
    assert_eq!(events.len(), 2 * ended.len());
    for row in ended {
        let of_row = |event: &&Value| event["detail"]["executionId"] == row["executionId"];
        let announced: Vec<_> = events.iter().filter(of_row).collect();
        let [event, again] = &announced[..] else { panic!("{announced:#?}") };
        assert_eq!(event["detail"], again["detail"]);
        assert_ne!(event["id"], again["id"]);
        for name in ["id", "account", "time", "region"] {
            assert!(event[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {event:#}");
        }
        assert_eq!((&event["source"], &event["version"]), (&json!("agent-trigger"), &json!("0")));
        assert_eq!(event["detail-type"], "Execution Status Change");
        for name in ["triggerId", "executionId", "userId", "status", "startedAt", "completedAt"] {
            assert!(row[name].as_str().is_some_and(|text| !text.is_empty()));
            assert_eq!(event["detail"][name], row[name], "{name} in {event:#}");
        }
        for name in ["output", "errorType", "error", "skipReason", "follows", "replayOf", "eventSourceId", "eventTime"]
        {
            let expected = row.get(name).cloned().unwrap_or(json!(""));
            assert_eq!(event["detail"][name], expected, "{name} in {event:#}");
        }
        let depth = row["chainDepth"].as_u64().map_or(String::new(), |depth| depth.to_string());
        assert_eq!(event["detail"]["chainDepth"], depth);
    }
}

#[tokio::test]
async fn an_end_is_followed_once_under_an_id_of_its_own() {
    let stack = stack().await;
    follow(&stack, "trigger-1", &completed("first"), json!({}));
    let function = stack.function(&[]).await;
    let detail = json!({"triggerId": "first", "executionId": FOLLOWED, "userId": USER, "status": "completed",
        "startedAt": TIME, "completedAt": "2026-01-31T07:00:41.087Z", "chainDepth": "2", "output": "six files"});
    let announced = || own_event("Execution Status Change", detail.clone());
    let outcome = function.invoke(Invocation::event(&announced())).await;
    let row = execution(&stack, "trigger-1");
    assert_completed(&outcome, &row);
    assert_eq!((&row["executionId"], &row["follows"]), (&json!(FOLLOWER), &json!(FOLLOWED)));
    assert_eq!((&row["chainDepth"], &row["eventSourceId"]), (&json!(3), &json!("agent-trigger")));
    for _ in 0..3 {
        let again = function.invoke(Invocation::event(&announced())).await;
        assert_eq!(again.body()["duplicate"], true, "{again:?}");
    }
    assert_eq!((execution(&stack, "trigger-1"), stack.agent.call_count()), (row, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn three_agents_work_one_after_the_other() {
    let stack = stack().await;
    let answers = ["Six files,\n\"two\" of them new", "Both new files are invoices", "Both invoices are paid"];
    for (agent, answer) in ["first", "second", "third"].iter().zip(answers) {
        stack.agent.on_agent(agent, Script::ndjson_happy(answer));
    }
    let prompt = format!("{PROMPT}. Go on from {{{{ $.detail.output }}}}");
    follow(&stack, "trigger-2", &completed("trigger-1"), json!({"agentId": "second", "prompt": prompt}));
    follow(&stack, "trigger-3", &completed("trigger-2"), json!({"agentId": "third", "prompt": prompt}));
    let failed = json!({"detail": {"status": ["failed"]}});
    follow(&stack, "on-failure", &failed, json!({"agentId": "never"}));
    let pipe = outbox(&stack);
    stack.pool(3, &[]);
    let mut event = standins::runtime_api::scheduled_event("trigger-1", "List the confidential files", Some(TIME));
    event["detail"]["agentId"] = json!("first");
    stack.invoke_async(Invocation::event(&event));
    stack.quiet(&pipe).await;

    let rows = ["trigger-1", "trigger-2", "trigger-3"].map(|id| execution(&stack, id));
    let calls = stack.agent.calls();
    assert_eq!(calls.iter().map(|call| call.field("agentId")).collect::<Vec<_>>(), ["first", "second", "third"]);
    assert_absent(&rows[0], &["chainDepth", "follows"]);
    for at in [1, 2] {
        assert_eq!((&rows[at]["status"], &rows[at]["chainDepth"]), (&json!("completed"), &json!(at)));
        assert_eq!(rows[at]["follows"], rows[at - 1]["executionId"]);
        let filled = format!("Go on from {}\n", json!(answers[at - 1]));
        assert!(calls[at].field("prompt").contains(&filled), "{}", calls[at].field("prompt"));
        assert_eq!(rows[at]["output"], answers[at]);
    }
    // Three ends, each announced twice: an end that nobody follows is a success too.
    assert_eq!((stack.lambda.accepted(), stack.lambda.failures().len()), (1 + 6, 0));
    assert!(stack.dynamodb.executions("on-failure").is_empty());
    assert_announced(&stack, &pipe);
    stack.assert_clean();
}

#[tokio::test]
async fn an_end_may_be_followed_by_several() {
    let stack = stack().await;
    for id in ["auditor", "mailer", "archiver"] {
        follow(&stack, id, &completed("first"), json!({}));
    }
    let pipe = outbox(&stack);
    stack.pool(3, &[]);
    stack.invoke_async(Invocation::scheduled("first", "List the confidential files", TIME));
    stack.quiet(&pipe).await;
    let first = execution(&stack, "first");
    for id in ["auditor", "mailer", "archiver"] {
        let row = execution(&stack, id);
        assert_eq!((&row["status"], &row["chainDepth"]), (&json!("completed"), &json!(1)));
        assert_eq!(row["follows"], first["executionId"]);
        assert_eq!(dispatched_to(&stack, id).len(), 2, "announced twice, handed on twice");
    }
    assert_eq!(stack.agent.call_count(), 4);
    assert_announced(&stack, &pipe);
    stack.assert_clean();
}

async fn loops(env: &[(&str, &str)], limit: usize) {
    let stack = stack().await;
    follow(&stack, "loop", &json!({"detail": {"triggerId": ["loop"]}}), json!({}));
    let pipe = outbox(&stack);
    stack.pool(2, env);
    let command = own_event("Run Trigger", json!({"triggerId": "loop", "userId": USER}));
    stack.invoke_async(Invocation::event(&command));
    stack.quiet(&pipe).await;

    let mut rows = stack.dynamodb.executions("loop");
    rows.sort_by_key(|row| row["chainDepth"].as_u64().unwrap_or_default());
    assert_eq!(rows.len(), limit + 2, "{rows:#?}");
    assert_eq!(stack.agent.call_count(), limit + 1);
    for (depth, row) in rows.iter().enumerate() {
        assert_eq!(row["chainDepth"].as_u64().unwrap_or_default(), depth as u64);
        if depth > 0 {
            assert_eq!(row["follows"], rows[depth - 1]["executionId"]);
        }
        if depth <= limit {
            assert_eq!(row["status"], "completed");
        } else {
            assert_skipped(row, "ChainTooDeep");
        }
    }
    // The end of what was skipped is announced, and followed by silence.
    assert_announced(&stack, &pipe);
    assert_eq!((stack.lambda.accepted(), stack.lambda.failures().len()), (1 + 2 * rows.len(), 0));
    let skipped = &rows[limit + 1]["executionId"];
    let of_skip =
        stack.lambda.invocations().into_iter().filter(|seen| seen.event()["detail"]["executionId"] == *skipped);
    for seen in of_skip {
        assert_summary(seen.outcome().unwrap(), &seen.event(), json!({}));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn a_chain_that_loops_is_stopped() {
    loops(&[], 8).await;
}

#[tokio::test]
async fn the_limit_of_chains_can_be_set() {
    loops(&[("CHAIN_DEPTH_LIMIT", "2")], 2).await;
    loops(&[("CHAIN_DEPTH_LIMIT", "0")], 0).await;
}

#[tokio::test]
async fn a_failure_is_announced_when_it_is_final() {
    let stack = stack().await;
    follow(&stack, "on-failure", &json!({"detail": {"status": ["failed"], "triggerId": ["busy"]}}), json!({}));
    stack.agent.queue_for_prompt("List the", (0..9).map(|_| Script::status(429, "busy")));
    let pipe = outbox(&stack);
    stack.pool(2, &[]);
    let request_id = stack.invoke_async(Invocation::scheduled("busy", "List the confidential files", TIME));
    stack.quiet(&pipe).await;
    let seen = invocation(&stack, &request_id);
    let kinds: Vec<_> = seen.outcomes.iter().map(standins::Outcome::error_type).collect();
    assert_eq!(kinds, ["AgentUnavailable"; 3]);
    let (busy, row) = (execution(&stack, "busy"), execution(&stack, "on-failure"));
    assert_eq!((&busy["attempt"], &busy["retryable"]), (&json!(3), &json!(false)));
    assert_eq!((&row["status"], &row["follows"]), (&json!("completed"), &busy["executionId"]));
    assert_announced(&stack, &pipe);
    stack.assert_clean();
}

#[tokio::test]
async fn what_is_skipped_fails_to_be_understood_or_is_replayed_is_announced() {
    let stack = stack().await;
    subscribe(&stack, "off", json!({"enabled": false}));
    subscribe(&stack, "broken", json!({"prompt": 7}));
    stack.agent.queue(Script::status(400, "no"));
    let pipe = outbox(&stack);
    stack.pool(2, &[]);
    stack.invoke_async(Invocation::event(&crate::support::subscribed::order()));
    stack.invoke_async(Invocation::scheduled("refused", "List the confidential files", TIME));
    stack.quiet(&pipe).await;
    let refused = execution(&stack, "refused");
    let detail = json!({"triggerId": "refused", "executionId": refused["executionId"]});
    stack.invoke_async(Invocation::event(&own_event("Replay Execution", detail)));
    stack.quiet(&pipe).await;
    assert_eq!(stack.dynamodb.executions("refused").len(), 2);
    assert_announced(&stack, &pipe);
    let states = ["completed", "failed", "skipped"];
    let of = |state: &&str| pipe.events().iter().filter(|event| event["detail"]["status"] == **state).count() / 2;
    assert_eq!(states.iter().map(of).collect::<Vec<_>>(), [1, 2, 1]);
    stack.assert_clean();
}

#[tokio::test]
async fn what_is_skipped_is_not_followed_by_further_skips() {
    let stack = stack().await;
    let everything = json!({"source": ["agent-trigger"]});
    for (id, changes) in [
        ("off", json!({"enabled": false})),
        ("paused", json!({"enabled": false, "pausedAt": TIME})),
        ("tombstone", json!({"deletedAt": TIME})),
    ] {
        follow(&stack, id, &everything, changes);
    }
    let pipe = outbox(&stack);
    stack.pool(3, &[]);
    stack.invoke_async(Invocation::scheduled("first", "List the confidential files", TIME));
    stack.quiet(&pipe).await;
    let first = execution(&stack, "first");
    for (id, reason) in [("off", "Disabled"), ("paused", "Paused"), ("tombstone", "Deleted")] {
        let row = execution(&stack, id);
        assert_skipped(&row, reason);
        assert_eq!((&row["follows"], &row["chainDepth"]), (&first["executionId"], &json!(1)));
    }
    assert_announced(&stack, &pipe);
    // Else each of three would follow each of three, as deep as chains go.
    assert_eq!(stack.lambda.accepted(), 1 + 2 * 4);
    let told_of_a_skip = |event: &Value| event["detail"]["status"] == "skipped";
    for seen in stack.lambda.invocations().into_iter().filter(|seen| told_of_a_skip(&seen.event())) {
        assert_summary(seen.outcome().unwrap(), &seen.event(), json!({"subscriptions": 3, "disabled": 3}));
    }
    stack.assert_clean();
}
