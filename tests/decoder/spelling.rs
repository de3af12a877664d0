//! Names and words whose letters are written as escapes, and ends of streams that are cut off: neither hides how the run
//! ended.

use agent_trigger::domain::answer::Verdict;

use crate::{NDJSON, SSE, whole};

#[test]
fn a_name_or_a_type_in_escapes_says_what_it_says_without() {
    for (content_type, body) in [
        (SSE, r#"data: {"invocationId":"e","author":"a","@errorCode":"BOOM"}"#),
        (SSE, r#"data: {"invocationId":"e","author":"a","@interrupted":true}"#),
        (SSE, r#"data: {"invocationId":"e","author":"a","@finishReason":"MAX_TOKENS"}"#),
        (SSE, r#"data: {"object":"chat.completion.chunk","choices":[{"delta":{},"@finish_reason":"length"}]}"#),
        (SSE, r#"data: {"jsonrpc":"2.0","result":{"@kind":"status-update","status":{"state":"failed"}}}"#),
        (SSE, r#"data: {"jsonrpc":"2.0","result":{"@statusUpdate":{"status":{"state":"TASK_STATE_FAILED"}}}}"#),
        (SSE, "data: {\"messageStart\":{\"role\":\"a\"}}\n\ndata: {\"@messageStop\":{\"stopReason\":\"max_tokens\"}}"),
        (SSE, "data: {\"messageStart\":{\"role\":\"a\"}}\n\ndata: {\"@throttlingException\":{\"message\":\"m\"}}"),
        (NDJSON, "{\"init_event_loop\":true}\n{\"event\":{\"@messageStop\":{\"stopReason\":\"max_tokens\"}}}"),
        (
            SSE,
            "data: {\"type\":\"@start\",\"runId\":\"r\",\"payload\":{}}\n\ndata: {\"type\":\"finish\",\"runId\":\"r\",\"payload\":{\"stepResult\":{\"reason\":\"length\"}}}",
        ),
    ] {
        let plain = whole(content_type, body.replace('@', "") + "\n\n").verdict;
        assert!(matches!(plain, Verdict::Failed(_) | Verdict::Incomplete(_)), "{body} is {plain:?}");
        let (before, behind) = body.split_once('@').expect("a place");
        let escaped = format!("{before}\\u{:04x}{}\n\n", behind.as_bytes()[0], &behind[1..]);
        assert_eq!(whole(content_type, &escaped).verdict, plain, "{escaped}");
    }
    let tools = "{\"text\":\"a\"}\n{\"type\":\"\\u0074ool_result\",\"error\":\"x\"}\n";
    assert_eq!(whole(NDJSON, tools).verdict, Verdict::Completed);
}

/// A line that is cut off may have said that the run failed, even if its protocol needs no event that ends it.
#[test]
fn half_a_line_completes_nothing() {
    for (body, half) in [
        ("{\"init_event_loop\":true}\n", "{\"event\":{\"messageSt"),
        ("{\"invocationId\":\"e\",\"author\":\"a\"}\n", "{\"invocationId\":\"e\",\"auth"),
    ] {
        assert_eq!(whole(NDJSON, body).verdict, Verdict::Completed);
        let verdict = whole(NDJSON, format!("{body}{half}")).verdict;
        assert!(matches!(verdict, Verdict::Interrupted(_)), "{half} is {verdict:?}");
    }
}

#[test]
fn half_of_done_takes_no_failure_back() {
    for end in ["[", "[DON", "[DONE]"] {
        let verdict = whole(SSE, format!("data: {{\"error\":\"boom\"}}\n\ndata: {end}")).verdict;
        assert!(matches!(verdict, Verdict::Failed(_)), "{end} is {verdict:?}");
    }
}
