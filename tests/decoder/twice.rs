//! A member that a protocol reads and an event holds twice: the one that says that the run failed or stopped short counts.

use agent_trigger::domain::answer::Verdict;

use crate::{JSON, NDJSON, SSE, whole};

/// A content type, a body with an `@` for the members, and the members of a run that finished and of one that did not.
const ENDS: &[(Option<&str>, &str, &str, &str)] = &[
    (
        SSE,
        "data: {\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"status-update\",\"status\":{@}}}\n\n",
        r#""state":"completed""#,
        r#""state":"failed""#,
    ),
    (
        SSE,
        "data: {\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"status-update\",@}}\n\n",
        r#""status":{"state":"completed"}"#,
        r#""status":{"state":"failed"}"#,
    ),
    (
        SSE,
        "data: {\"jsonrpc\":\"2.0\",@}\n\n",
        r#""result":{"kind":"status-update","status":{"state":"completed"}}"#,
        r#""result":{"kind":"status-update","status":{"state":"failed"}}"#,
    ),
    (
        SSE,
        "data: {\"jsonrpc\":\"2.0\",\"result\":{\"statusUpdate\":{\"status\":{@}}}}\n\n",
        r#""state":"TASK_STATE_COMPLETED""#,
        r#""state":"TASK_STATE_INPUT_REQUIRED""#,
    ),
    (
        SSE,
        "data: {\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"message\",\"parts\":[]},@}\n\n",
        r#""error":null"#,
        r#""error":{"message":"boom"}"#,
    ),
    (JSON, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[],@}}", r#""isError":false"#, r#""isError":true"#),
    (
        SSE,
        "event: values\ndata: {\"messages\":[{\"type\":\"ai\",\"content\":\"x\"}],@}\n\n",
        r#""__error__":null"#,
        r#""__error__":{"message":"boom"}"#,
    ),
    (
        SSE,
        "event: values\ndata: {\"messages\":[{\"type\":\"ai\",\"content\":\"x\"}],@}\n\n",
        r#""__interrupt__":[]"#,
        r#""__interrupt__":[{"value":1}]"#,
    ),
    (
        JSON,
        "{\"messages\":[{\"type\":\"ai\",\"content\":\"x\"}],@}",
        r#""__error__":null"#,
        r#""__error__":{"message":"boom"}"#,
    ),
    (SSE, "data: {\"type\":\"RUN_STARTED\"}\n\ndata: {@}\n\n", r#""type":"RUN_FINISHED""#, r#""type":"RUN_ERROR""#),
    (
        SSE,
        "data: {\"type\":\"RUN_STARTED\"}\n\ndata: {\"type\":\"RUN_FINISHED\",@}\n\n",
        r#""outcome":{"type":"success"}"#,
        r#""outcome":{"type":"interrupt"}"#,
    ),
    (
        SSE,
        "data: {\"type\":\"RUN_STARTED\"}\n\ndata: {\"type\":\"RUN_FINISHED\",\"outcome\":{@}}\n\n",
        r#""type":"success""#,
        r#""type":"interrupt""#,
    ),
    (
        SSE,
        "data: {\"type\":\"response.created\"}\n\ndata: {@}\n\n",
        r#""type":"response.completed""#,
        r#""type":"response.failed""#,
    ),
    (
        SSE,
        "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{@}}\n\n",
        r#""status":"completed""#,
        r#""status":"failed""#,
    ),
    (JSON, "{\"object\":\"response\",\"output\":[],@}", r#""status":"completed""#, r#""status":"incomplete""#),
    (
        SSE,
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},@}]}\n\n",
        r#""finish_reason":"stop""#,
        r#""finish_reason":"length""#,
    ),
    (
        SSE,
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"delta\":{@}}]}\n\n",
        r#""refusal":null"#,
        r#""refusal":"no""#,
    ),
    (
        SSE,
        "data: {\"object\":\"chat.completion.chunk\",@}\n\n",
        r#""choices":[{"index":0,"finish_reason":"stop"}]"#,
        r#""choices":[{"index":0,"finish_reason":"length"}]"#,
    ),
    (
        JSON,
        "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"x\"},@}]}",
        r#""finish_reason":"stop""#,
        r#""finish_reason":"length""#,
    ),
    (
        SSE,
        "data: {\"type\":\"message_start\",\"message\":{}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{@}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
        r#""stop_reason":"end_turn""#,
        r#""stop_reason":"max_tokens""#,
    ),
    (
        JSON,
        "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],@}",
        r#""stop_reason":"end_turn""#,
        r#""stop_reason":"max_tokens""#,
    ),
    (
        SSE,
        "data: {\"type\":\"start\"}\n\ndata: {\"type\":\"finish\",@}\n\n",
        r#""finishReason":"stop""#,
        r#""finishReason":"error""#,
    ),
    (SSE, "data: {\"type\":\"start\"}\n\ndata: {@}\n\n", r#""type":"finish""#, r#""type":"abort""#),
    (
        SSE,
        "data: {\"type\":\"start\",\"runId\":\"1\",\"payload\":{}}\n\ndata: {\"type\":\"finish\",\"runId\":\"1\",\"payload\":{\"stepResult\":{@}}}\n\n",
        r#""reason":"stop""#,
        r#""reason":"error""#,
    ),
    (
        SSE,
        "data: {\"type\":\"start\",\"runId\":\"1\",\"payload\":{}}\n\ndata: {\"runId\":\"1\",\"payload\":{},@}\n\n",
        r#""type":"finish""#,
        r#""type":"tripwire""#,
    ),
    (SSE, "data: {\"invocationId\":\"1\",\"author\":\"a\",@}\n\n", r#""errorCode":null"#, r#""errorCode":"BOOM""#),
    (SSE, "data: {\"invocationId\":\"1\",\"author\":\"a\",@}\n\n", r#""interrupted":false"#, r#""interrupted":true"#),
    (
        SSE,
        "data: {\"invocationId\":\"1\",\"author\":\"a\",@}\n\n",
        r#""finishReason":"STOP""#,
        r#""finishReason":"MAX_TOKENS""#,
    ),
    (
        SSE,
        "data: {\"messageStart\":{\"role\":\"assistant\"}}\n\ndata: {\"messageStop\":{@}}\n\n",
        r#""stopReason":"end_turn""#,
        r#""stopReason":"max_tokens""#,
    ),
    (
        SSE,
        "data: {\"init_event_loop\":true}\n\ndata: {\"event\":{\"messageStop\":{@}}}\n\n",
        r#""stopReason":"end_turn""#,
        r#""stopReason":"guardrail_intervened""#,
    ),
    (SSE, "data: {\"init_event_loop\":true}\n\ndata: {@}\n\n", r#""force_stop":false"#, r#""force_stop":true"#),
    (
        NDJSON,
        "{\"type\":\"beforeInvocationEvent\"}\n{\"type\":\"agentResultEvent\",\"result\":{@}}\n",
        r#""stopReason":"endTurn""#,
        r#""stopReason":"maxTokens""#,
    ),
    (
        NDJSON,
        "{\"type\":\"beforeInvocationEvent\"}\n{@}\n",
        r#""type":"serverCompletionEvent""#,
        r#""type":"serverErrorEvent""#,
    ),
];

#[test]
fn the_graver_of_two_members_of_one_name_is_heard() {
    for (content_type, body, well, short) in ENDS {
        let verdict = |members: &str| whole(*content_type, body.replace('@', members)).verdict;
        let graver = verdict(short);
        assert_eq!(verdict(well), Verdict::Completed, "{body}");
        assert_eq!(verdict(&format!("{well},{well}")), Verdict::Completed, "{body}");
        assert_ne!(graver, Verdict::Completed, "{body}");
        for members in [[*well, *short], [*short, *well]] {
            assert_eq!(verdict(&members.join(",")), graver, "{body} with {members:?}");
        }
        for place in 0..12 {
            let members: Vec<_> = (0..12).map(|at| if at == place { *short } else { *well }).collect();
            let heard = verdict(&members.join(","));
            // Eight members and the last one are told apart in an event that ends a run.
            assert!(heard == graver || (9..11).contains(&place), "{body} at {place}");
        }
    }
}

/// Answers without a terminal event, and documents, in the form of [`ENDS`].
const OTHERS: &[(Option<&str>, &str, &str, &str)] = &[
    (JSON, "{\"result\":{@},\"id\":1}", r#""status":"completed""#, r#""status":"failed""#),
    (JSON, "{\"result\":{\"text\":\"a\",@},\"id\":1}", r#""error":null"#, r#""error":"boom""#),
    (JSON, "{\"response\":{\"text\":\"a\",@}}", r#""success":true"#, r#""success":false"#),
    (JSON, "{\"data\":{\"text\":\"a\",@}}", r#""isError":false"#, r#""isError":true"#),
    (JSON, "{\"response\":{\"text\":\"a\",@}}", r#""stop_reason":"end_turn""#, r#""stop_reason":"max_tokens""#),
    (JSON, "{\"message\":{\"content\":\"a\",@}}", r#""finish_reason":"stop""#, r#""finish_reason":"length""#),
    (JSON, "{\"text\":\"a\",@}", r#""stop_reason":{"type":"end_turn"}"#, r#""stop_reason":{"type":"max_tokens"}"#),
    (JSON, "{\"text\":\"a\",\"error\":{@}}", r#""code":0"#, r#""message":"boom","code":1"#),
    (JSON, "{\"text\":\"a\",@}", r#""error":{}"#, r#""error":{"message":"boom"}"#),
    (JSON, "{\"text\":\"a\",@}", r#""errors":[]"#, r#""errors":["boom"]"#),
    (JSON, "{\"text\":\"a\",@}", r#""statusCode":200"#, r#""statusCode":500"#),
    (JSON, "[{\"text\":\"a\",@}]", r#""status":"completed""#, r#""status":"failed""#),
    (JSON, "[{\"result\":{\"text\":\"a\",@}}]", r#""error":null"#, r#""error":"boom""#),
    (SSE, "data: {\"result\":{\"text\":\"a\",@}}\n\n", r#""status":"completed""#, r#""status":"failed""#),
    (SSE, "data: {\"event\":{@}}\n\n", r#""a":{}"#, r#""throttlingException":{"message":"boom"}"#),
    (NDJSON, "{\"data\":{\"text\":\"a\",@}}\n", r#""success":true"#, r#""success":false"#),
    (
        JSON,
        "{\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"task\",\"status\":{@}}}",
        r#""state":"completed""#,
        r#""state":"failed""#,
    ),
    (
        JSON,
        "{\"jsonrpc\":\"2.0\",\"result\":{\"task\":{\"status\":{@}}},\"id\":1}",
        r#""state":"TASK_STATE_COMPLETED""#,
        r#""state":"TASK_STATE_FAILED""#,
    ),
    (
        JSON,
        "{\"jsonrpc\":\"2.0\",\"result\":{\"task\":{@}}}",
        r#""status":{"state":"TASK_STATE_COMPLETED"}"#,
        r#""status":{"state":"TASK_STATE_AUTH_REQUIRED"}"#,
    ),
    (
        JSON,
        "{\"type\":\"agent_result\",\"message\":{\"content\":[]},@}",
        r#""stop_reason":"end_turn""#,
        r#""stop_reason":"max_tokens""#,
    ),
    (
        JSON,
        "{\"type\":\"agentResult\",\"lastMessage\":{\"content\":[]},@}",
        r#""stopReason":"endTurn""#,
        r#""stopReason":"maxTokens""#,
    ),
    (
        JSON,
        "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"x\",@},\"finish_reason\":\"stop\"}]}",
        r#""refusal":null"#,
        r#""refusal":"no""#,
    ),
    (
        JSON,
        "{\"object\":\"response\",\"status\":\"completed\",\"output\":[],@}",
        r#""error":null"#,
        r#""error":{"message":"boom"}"#,
    ),
    (
        JSON,
        "[{\"invocationId\":\"1\",\"author\":\"a\",\"content\":{\"parts\":[{\"text\":\"x\"}]},@}]",
        r#""errorCode":null"#,
        r#""errorCode":"BOOM""#,
    ),
    (
        JSON,
        "[{\"invocationId\":\"1\",\"author\":\"a\",\"content\":{\"parts\":[{\"text\":\"x\"}]},@}]",
        r#""finishReason":"STOP""#,
        r#""finishReason":"SAFETY""#,
    ),
    (
        SSE,
        "data: {\"init_event_loop\":true}\n\ndata: {\"event\":{@}}\n\n",
        r#""messageStop":{"stopReason":"end_turn"}"#,
        r#""messageStop":{"stopReason":"content_filtered"}"#,
    ),
    (
        SSE,
        "data: {\"init_event_loop\":true}\n\ndata: {\"result\":{@}}\n\n",
        r#""stop_reason":"end_turn""#,
        r#""stop_reason":"limit_turns""#,
    ),
    (
        NDJSON,
        "{\"type\":\"beforeInvocationEvent\"}\n{\"type\":\"modelStreamUpdateEvent\",\"event\":{@}}\n{\"type\":\"serverCompletionEvent\"}\n",
        r#""type":"modelMessageStopEvent","stopReason":"endTurn""#,
        r#""type":"modelMessageStopEvent","stopReason":"maxTokens""#,
    ),
    (
        SSE,
        "data: {\"messageStart\":{\"role\":\"assistant\"}}\n\ndata: {@}\n\n",
        r#""messageStop":{"stopReason":"end_turn"}"#,
        r#""throttlingException":{"message":"boom"}"#,
    ),
    (
        SSE,
        "event: metadata\ndata: {\"run_id\":\"1\"}\n\nevent: updates\ndata: {@}\n\n",
        r#""a":{}"#,
        r#""__interrupt__":[{"value":1}]"#,
    ),
];

/// Returns the body once for each member above the `@`: with this member twice, one with each of the two contents.
fn doubled(body: &str, contents: [&str; 2]) -> Vec<String> {
    let bytes = body.as_bytes();
    let mut bodies = Vec::new();
    let mut at = body.find('@').expect("a place");
    loop {
        let mut depth = 0;
        let Some(open) = (0..at).rev().find(|place| {
            depth += match bytes[*place] {
                b'}' | b']' => 1,
                b'{' | b'[' => -1,
                _ => 0,
            };
            depth < 0
        }) else {
            return bodies;
        };
        let mut depth = 0;
        let close = (open..bytes.len()).find(|place| {
            depth += match bytes[*place] {
                b'{' | b'[' => 1,
                b'}' | b']' => -1,
                _ => 0,
            };
            depth == 0
        });
        let close = close.expect("the brackets match");
        if body[..open].ends_with("\":") {
            let name = body[..open - 2].rfind('"').expect("a name");
            let member = &body[name..=close];
            let both = contents.map(|content| member.replace('@', content)).join(",");
            bodies.push(format!("{}{both}{}", &body[..name], &body[close + 1..]));
        }
        at = open;
    }
}

#[test]
fn the_graver_of_two_members_is_heard_at_every_level() {
    let mut missed = Vec::new();
    for (content_type, body, well, short) in ENDS.iter().chain(OTHERS) {
        let verdict = |body: &str| whole(*content_type, body).verdict;
        let ends = [well, short].map(|content| verdict(&body.replace('@', content)) == Verdict::Completed);
        assert_eq!(ends, [true, false], "{body}");
        for contents in [[*well, *short], [*short, *well]] {
            let same_level = body.replace('@', &contents.join(","));
            for body in doubled(body, contents).into_iter().chain([same_level]) {
                if verdict(&body) == Verdict::Completed {
                    missed.push(body);
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} recorded as completed:\n{}", missed.len(), missed.join("\n"));
}
