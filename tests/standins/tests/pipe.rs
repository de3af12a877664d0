//! Checks that the pipe sends what its definition in the template says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use standins::{INDEX, Invocation, Pipe, PipeDefinition, Stack, Template};

const TEMPLATE: &str = r#"
Parameters:
  Prefix: {Type: String, Default: agent}
  Name: {Type: String}
Conditions:
  Always: !Equals [a, a]
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      Name: !Sub
        - ${Prefix}-${Own}-${AWS::Region}-${!Literal}
        - Own: mine
      Tags: !If [Always, !Ref Table, !Ref AWS::NoValue]
      Needed: !Sub ${Name}
      Size: 3
  Outbox:
    Type: AWS::Pipes::Pipe
    Properties:
      RoleArn: !GetAtt PipeRole.Arn
      Source: !GetAtt Table.StreamArn
      SourceParameters:
        DynamoDBStreamParameters: {StartingPosition: LATEST, BatchSize: 10}
        FilterCriteria:
          Filters:
            - Pattern: '{"eventName": ["INSERT"]}'
            - Pattern: |
                {"eventName": ["MODIFY"]}
      Target: !GetAtt Bus.Arn
      TargetParameters:
        EventBridgeEventBusParameters:
          Source: !Sub ${Prefix}-trigger
          DetailType: Execution Status Change
        InputTemplate: |
          {
            "sk": "<$.dynamodb.NewImage.SK.S>",
            "output": <$.dynamodb.NewImage.output.S>
          }
"#;

#[test]
fn the_template_says_what_the_pipe_does() {
    let template = Template::parse(TEMPLATE).unwrap();
    let pipe = template.pipe().unwrap();
    assert_eq!(pipe.filters, [json!({"eventName": ["INSERT"]}), json!({"eventName": ["MODIFY"]})]);
    assert_eq!((pipe.source.as_str(), pipe.detail_type.as_str()), ("agent-trigger", "Execution Status Change"));
    assert!(pipe.input_template.unwrap().contains("\"output\": <$.dynamodb.NewImage.output.S>"));
    assert_eq!((pipe.time, pipe.twice), (None, false));
    let tables = template.resources("AWS::DynamoDB::Table");
    let expected = json!({"Name": "agent-mine-us-east-1-${Literal}", "Size": 3, "Needed": {"Fn::Sub": "${Name}"},
        "Tags": {"Fn::If": ["Always", "Table", {"Ref": "AWS::NoValue"}]}});
    assert_eq!(tables, [("Table".to_owned(), expected)]);
    assert!(Template::parse("Resources: {}").unwrap().pipe().is_err());
    assert!(Template::parse("a: [").is_err());
}

fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn the_projects_own_pipe_makes_what_its_sample_shows() {
    let template = Template::read(&of_project("template.yaml")).unwrap();
    let table = &template.resources("AWS::DynamoDB::Table")[0].1;
    assert_eq!(table["GlobalSecondaryIndexes"][0]["IndexName"], INDEX);
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    let definition = template.pipe().unwrap();
    assert!(!definition.filters.is_empty() && definition.filters.iter().all(|filter| filter["dynamodb"].is_object()));

    let stack = Stack::start().await;
    let pipe = Pipe::start(&stack.dynamodb, definition, |_| true, |_| {});
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#t", "SK": "EXECUTION#e", "triggerId": "t", "durationMs": 5,
        "output": "He said \"done\".\n", "usage": {"inputTokens": 7}, "finishReason": "max_tokens",
        "protocol": "ag-ui"}));
    pipe.drain();
    assert_eq!(pipe.failures(), [""; 0]);
    let event = &pipe.events()[0];
    let sample = std::fs::read_to_string(of_project("events/execution-status-change.json")).unwrap();
    let sample: Value = serde_json::from_str(&sample).unwrap();
    let names = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(event), names(&sample));
    assert_eq!((&event["source"], &event["detail-type"]), (&sample["source"], &sample["detail-type"]));
    assert_eq!(names(&event["detail"]), names(&sample["detail"]));
    let (detail, usage) = (&event["detail"], &event["detail"]["usage"]);
    assert_eq!((&detail["triggerId"], &detail["output"]), (&json!("t"), &json!("He said \"done\".\n")));
    assert_eq!((&detail["durationMs"], &detail["error"]), (&json!("5"), &json!("")), "numbers are strings in a stream");
    assert_eq!((&usage["inputTokens"], &usage["outputTokens"]), (&json!("7"), &json!("")));
    assert_eq!((&detail["finishReason"], &detail["protocol"]), (&json!("max_tokens"), &json!("ag-ui")));
}

#[tokio::test]
async fn the_projects_pipe_of_health_makes_what_its_sample_shows() {
    let template = Template::read(&of_project("template.yaml")).unwrap();
    let mut pipes = template.pipes().unwrap();
    pipes.retain(|pipe| pipe.detail_type == "Trigger Health Change");
    assert_eq!(pipes.len(), 1);

    let stack = Stack::start().await;
    let pipe = Pipe::start(&stack.dynamodb, pipes.remove(0), |_| true, |_| {});
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t", "id": "t", "health": "ok"}));
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t", "id": "t", "health": "failing",
        "failures": 1, "healthError": "He said \"no\"."}));
    pipe.drain();
    assert_eq!(pipe.failures(), [""; 0]);
    let event = &pipe.events()[1];
    let sample = std::fs::read_to_string(of_project("events/trigger-health-change.json")).unwrap();
    let sample: Value = serde_json::from_str(&sample).unwrap();
    let names = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((&event["source"], &event["detail-type"]), (&sample["source"], &sample["detail-type"]));
    assert_eq!(names(&event["detail"]), names(&sample["detail"]));
    let detail = &event["detail"];
    assert_eq!((&detail["health"], &detail["previousHealth"]), (&json!("failing"), &json!("ok")));
    assert_eq!((&detail["failures"], &detail["error"]), (&json!("1"), &json!("He said \"no\".")));
    assert_eq!(detail["name"], "");
}

/// Compiles patterns of one member with a list of strings, which is all that these tests need.
fn compile(pattern: &Value) -> impl Fn(&Value) -> bool + use<> {
    let pattern = pattern.clone();
    move |record: &Value| {
        let mut members = pattern.as_object().unwrap().iter();
        members.all(|(name, values)| values.as_array().unwrap().contains(&record[name]))
    }
}

fn definition() -> PipeDefinition {
    Template::parse(TEMPLATE).unwrap().pipe().unwrap()
}

#[tokio::test]
async fn changes_become_events_in_their_order() {
    let stack = Stack::start().await;
    let (definition, sent) = (definition(), Arc::new(Mutex::new(Vec::new())));
    let matcher = definition.matcher(compile);
    let sink = {
        let sent = Arc::clone(&sent);
        move |event| sent.lock().unwrap().push(event)
    };
    let pipe = Pipe::start(&stack.dynamodb, definition, matcher, sink);
    for n in 0..50 {
        let sk = format!("EXECUTION#{n}");
        stack.dynamodb.put_item(&json!({"PK": "TRIGGER#t", "SK": sk, "output": format!("\"{n}\"\n")}));
        stack.dynamodb.delete("TRIGGER#t", &sk);
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
    }
    pipe.drain();
    let sent = sent.lock().unwrap().clone();
    let details: Vec<_> = sent.iter().map(|event: &Value| event["detail"].clone()).collect();
    let expected: Vec<_> =
        (0..50).map(|n| json!({"sk": format!("EXECUTION#{n}"), "output": format!("\"{n}\"\n")})).collect();
    assert_eq!(details, expected);
    let event = &sent[0];
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("agent-trigger"), &json!("Execution Status Change")));
    assert!(["account", "region", "version"].iter().all(|name| event[name].is_string()));
    let time = event["time"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    assert_ne!(sent[0]["id"], sent[1]["id"]);
    assert_eq!((pipe.events(), pipe.failures()), (sent, Vec::new()));
}

#[tokio::test]
async fn a_change_can_be_sent_twice_under_two_ids() {
    let stack = Stack::start().await;
    let pipe = Pipe::start(&stack.dynamodb, definition().twice(), |_| true, |_| {});
    stack.dynamodb.put_item(&json!({"PK": "p", "SK": "s", "output": "o"}));
    pipe.drain();
    let events = pipe.events();
    assert_eq!((events.len(), &events[0]["detail"]), (2, &events[1]["detail"]));
    assert_ne!(events[0]["id"], events[1]["id"]);
}

#[tokio::test]
async fn a_detail_that_is_not_json_is_a_failure_and_the_next_is_sent() {
    let stack = Stack::start().await;
    let pipe = Pipe::start(&stack.dynamodb, definition(), |_| true, |_| {});
    stack.dynamodb.put_item(&json!({"PK": "p", "SK": "with \" inside quotes"}));
    stack.dynamodb.put_item(&json!({"PK": "p", "SK": "fine"}));
    pipe.drain();
    assert_eq!((pipe.events().len(), pipe.failures().len()), (1, 1), "{:?}", pipe.failures());
    assert_eq!(pipe.events()[0]["detail"], json!({"sk": "fine", "output": ""}), "what is absent is empty");

    let whole = PipeDefinition { time: Some("$.dynamodb.NewImage.at.S".to_owned()), ..PipeDefinition::default() };
    let pipe = Pipe::start(&stack.dynamodb, whole, |_| true, |_| {});
    stack.dynamodb.put_item(&json!({"PK": "p", "SK": "timed", "at": "2026-01-02T03:04:05.678Z"}));
    pipe.drain();
    let event = &pipe.events()[0];
    assert_eq!(event["time"], "2026-01-02T03:04:05.678Z");
    assert_eq!(event["detail"]["dynamodb"]["NewImage"]["SK"]["S"], "timed", "without a template it is the record");
    assert_eq!(pipe.failures().len(), 2, "the others have no time");
}

#[tokio::test]
async fn the_pipe_and_lambda_come_to_rest_together() {
    let stack = Stack::start().await.with_binary("/bin/false");
    let lambda = stack.lambda.clone();
    lambda.retries(0);
    stack.pool(1, &[]);
    let sink = move |event: Value| {
        lambda.submit(Invocation::event(&event));
    };
    let pipe = Pipe::start(&stack.dynamodb, definition(), |_| true, sink);
    for n in 0..3 {
        stack.dynamodb.put_item(&json!({"PK": "p", "SK": format!("s{n}")}));
    }
    stack.quiet(&pipe).await;
    assert_eq!((stack.lambda.accepted(), stack.lambda.failures().len()), (3, 3));
}
