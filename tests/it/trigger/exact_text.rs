//! Cases 62 and 64: numbers of any size and spelling, half a surrogate pair, and deep nesting are told, mapped and asked as
//! they came.

use serde_json::{Value, json};
use standins::{Invocation, Stack, own_event};

use crate::support::one_fire::TIME;
use crate::support::subscribed::{USER, config, subscribe};
use crate::support::{assert_completed, execution, stack};

const ID: &str = "6a7e8feb-b491-4cf7-a9f1-bf3703467718";

/// Values as JSON texts, which must reach the agent in this spelling.
fn values() -> Vec<String> {
    let nested = |open: &str, close: &str| format!("{}1.0{}", open.repeat(200), close.repeat(200));
    let mut values: Vec<String> = [
        r#""cut \ud83d""#,
        r#"{"\ude00":["\ud83d\ud83d","\ud83d\ude00"]}"#,
        "1e400",
        "-1E+400",
        "123456789012345678901234567890",
        "123456789012345678901",
        "9007199254740993",
        "1e15",
        "1.50",
        "-0",
        "\"\u{fdd0}\u{e000}\"",
        r#"{"$serde_json::private::Number":"5"}"#,
    ]
    .map(str::to_owned)
    .into();
    values.extend([nested("[", "]"), nested(r#"{"a":"#, "}")]);
    values
}

/// The value in the spelling that the agent must get: only a whole pair is written as the character that it is.
fn expected(value: &str) -> String {
    value.replace(r"\ud83d\ude00", "😀")
}

fn bus_event(source: &str, value: &str) -> String {
    format!(r#"{{"id":"{ID}","source":"{source}","detail-type":"x","time":"{TIME}","detail":{{"value": {value}}}}}"#)
}

/// The text of a call's body, and of the prompt in it.
fn asked(stack: &Stack) -> (String, String) {
    let call = stack.agent.calls().pop().unwrap();
    let text = call.text;
    let (_, prompt) = text.split_once(r#""prompt":"#).unwrap();
    // The prompt has no halves: it holds JSON as text.
    let prompt = serde_json::Deserializer::from_str(prompt).into_iter::<String>().next().unwrap().unwrap();
    (text, prompt)
}

#[tokio::test]
async fn f64_the_agent_gets_an_event_as_it_came() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (at, value) in values().iter().enumerate() {
        let (source, id) = (format!("text-{at}"), format!("t-{at}"));
        let item = json!({"GSI2PK": format!("EVENTSOURCE#{source}"), "prompt": "Look: {{ $.detail.value }}",
            "inputMapping": {"mapped": "$.detail.value", "all": "$.detail"}});
        subscribe(&stack, &id, item);
        let outcome = function.invoke(Invocation::new(bus_event(&source, value))).await;
        let row = execution(&stack, &id);
        assert_completed(&outcome, &row);
        let (body, prompt) = asked(&stack);
        let value = expected(value);
        assert!(body.contains(&format!(r#""mapped":{value}"#)), "{value}: {body}");
        assert!(body.contains(&format!(r#""all":{{"value":{value}}}"#)), "{value}: {body}");
        assert!(prompt.starts_with(&format!("Look: {value}\n\n")), "{value}: {prompt}");
        assert!(prompt.ends_with(&format!("\ndetail: {{\"value\":{value}}}\n</event>")), "{value}: {prompt}");

        // A replay asks the same: the kept input has it as it came, too.
        let replay = json!({"triggerId": id, "executionId": row["executionId"]});
        let outcome = function.invoke(Invocation::event(&marked(own_event("Replay Execution", replay)))).await;
        assert!(outcome.is_success(), "{value}: {outcome:?}");
        assert_eq!(stack.agent.calls().pop().unwrap().text.len(), body.len(), "{value}");
        assert!(asked(&stack).0.contains(&format!(r#""mapped":{value}"#)), "{value}");
    }
    stack.assert_clean();
}

/// The event as the rule of the stack's own bus delivers it.
fn marked(event: Value) -> Value {
    if event.get("_from").is_some() { event } else { json!({"_from": "stack-bus", "_event": event}) }
}

#[tokio::test]
async fn f64_a_schedules_own_input_reaches_the_agent_as_it_came() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (at, value) in values().iter().enumerate() {
        let id = format!("s-{at}");
        let event = format!(
            r#"{{"detail-type":"Scheduled Event","source":"agentcore.trigger","other":{value},"detail":{{"triggerId":"{id}",
            "userId":"{USER}","agentId":"agent-1","prompt":"cut \ud83d","scheduledTime":"{TIME}","input":{{"x":{value}}}}}}}"#
        );
        let outcome = function.invoke(Invocation::new(event)).await;
        assert_completed(&outcome, &execution(&stack, &id));
        let body = stack.agent.calls().pop().unwrap().text;
        let value = expected(value);
        assert!(body.contains(&format!(r#""x":{value}"#)), "{value}: {body}");
        assert!(body.contains(r#""prompt":"cut \ud83d""#), "{body}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f64_conditions_compare_what_came() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (at, (value, operator, other, is_met)) in [
        ("123456789012345678901", "eq", "123456789012345678901", true),
        ("123456789012345678901", "eq", "123456789012345678902", false),
        ("12345678901234567890123456789012345678", "gt", "12345678901234567890123456789012345677", true),
        ("1e15", "eq", "1000000000000000", true),
        ("1e400", "gt", "1e100", true),
        ("-1e400", "lt", "0", true),
        ("9007199254740993", "eq", "9007199254740992", false),
        ("1.50", "eq", "1.5", true),
    ]
    .into_iter()
    .enumerate()
    {
        let (source, id) = (format!("number-{at}"), format!("n-{at}"));
        let condition = json!({"field": "detail.value", "operator": operator, "value": number(other)});
        let mut item = config(json!({ "condition": condition }));
        item["GSI2PK"] = json!(format!("EVENTSOURCE#{source}"));
        subscribe(&stack, &id, item);
        let outcome = function.invoke(Invocation::new(bus_event(&source, value))).await;
        assert!(outcome.is_success(), "{value} {operator} {other}: {outcome:?}");
        assert_eq!(stack.dynamodb.executions(&id).len(), usize::from(is_met), "{value} {operator} {other}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f62_numbers_of_an_item_are_read_as_they_are() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let digits = "12345678901234567890123456789012345678";
    let item = json!({"GSI2PK": "EVENTSOURCE#digits", "input": {"digits": number(digits)}, "version": number(digits),
        "maxTokensPerDay": number("5000000000"), "maxRunsPerDay": number("1E+6"), "timeoutSeconds": number("900.0")});
    subscribe(&stack, "t", item);
    for id in [ID, "7a7e8feb-b491-4cf7-a9f1-bf3703467718"] {
        let outcome = function.invoke(Invocation::new(bus_event("digits", "1").replace(ID, id))).await;
        assert!(outcome.is_success(), "{outcome:?}");
        let body = stack.agent.calls().pop().unwrap().text;
        assert!(body.contains(&format!(r#""digits":{digits}"#)), "{body}");
    }
    for row in stack.dynamodb.executions("t") {
        assert_eq!((&row["status"], &row["triggerVersion"]), (&json!("completed"), &json!(digits)), "{row:#}");
    }
    // A number that fits nowhere is refused, for that trigger alone.
    for (at, (name, value)) in [
        ("maxRunsPerDay", digits),
        ("maxTokensPerDay", digits),
        ("timeoutSeconds", "1E+100"),
        ("pauseAfterFailures", "1E-100"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut item = json!({"GSI2PK": format!("EVENTSOURCE#refused-{at}")});
        item[name] = number(value);
        let [bad, good] = ["bad", "good"].map(|kind| format!("{kind}-{at}"));
        subscribe(&stack, &bad, item);
        subscribe(&stack, &good, json!({"GSI2PK": format!("EVENTSOURCE#refused-{at}")}));
        let before = stack.lambda.dispatched().len();
        function.invoke(Invocation::new(bus_event(&format!("refused-{at}"), "1"))).await;
        for invoked in stack.lambda.dispatched().split_off(before) {
            function.invoke(Invocation::new(invoked.payload)).await;
        }
        let (row, ran) = (execution(&stack, &bad), execution(&stack, &good));
        assert_eq!((&row["errorType"], &ran["status"]), (&json!("InvalidTrigger"), &json!("completed")), "{row:#}");
        assert!(row["error"].as_str().unwrap().contains(name), "{row:#}");
    }
    stack.assert_clean();
}
