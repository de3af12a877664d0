//! Every captured answer, through the built function: what the record says is what the agent said.

use std::path::Path;

use serde_json::{Value, json};
use standins::{Script, Step};

use crate::support::{alone, execution, one_fire::fire_with, stack};

/// The agent's answer as it was captured. A torn one ends without the end of its body, and one that never came with the
/// connection.
fn script(case: &Value, body: Vec<u8>) -> Script {
    let mut script = match case["httpStatus"].as_u64().unwrap() {
        0 => return Script::new(200).before_head(Step::Fin),
        status => Script::new(u16::try_from(status).unwrap()),
    };
    if let Some(content_type) = case["contentType"].as_str().filter(|text| !text.is_empty()) {
        script = script.header("content-type", content_type);
    }
    script = script.then(Step::Bytes(body.into()));
    if case["torn"] == true { script.then(Step::Fin) } else { script }
}

#[tokio::test]
async fn f73_every_captured_answer_is_recorded_as_what_it_says() {
    let _alone = alone().await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/answers");
    let manifest = std::fs::read_to_string(directory.join("manifest.jsonl")).unwrap();
    let cases: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 218);
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut wrong = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let body = case["file"].as_str().map(|file| std::fs::read(directory.join(file)).unwrap()).unwrap_or_default();
        stack.agent.queue(script(case, body));
        let time = format!("2026-01-31T07:{:02}:{:02}Z", at / 60, at % 60);
        let trigger_id = format!("case-{at}");
        let fire = fire_with(&json!({"scheduledTime": time, "triggerId": trigger_id}));
        let outcome = function.invoke(fire).await;
        let record = execution(&stack, &trigger_id);
        let expect = &case["expect"];
        let differs = ["status", "errorType", "finishReason"]
            .into_iter()
            .any(|name| !expect[name].is_null() && record[name] != expect[name]);
        let has_answer = expect["output"]
            .as_array()
            .is_none_or(|texts| texts.iter().any(|text| text.as_str() == record["output"].as_str().map(str::trim)));
        if differs || !has_answer || outcome.is_success() != (record["status"] == "completed") {
            let [status, error_type, reason, output] =
                ["status", "errorType", "finishReason", "output"].map(|name| &record[name]);
            wrong.push(format!("{}: {status} {error_type} {reason} {output}", case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
