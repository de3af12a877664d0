//! Events too large to keep whose ends stand within their members.

use agent_trigger::agent::framing::frame::MAX_EVENT;
use agent_trigger::domain::answer::{AnswerError, End, Interruption, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;

use crate::{JSON, NDJSON, SSE, decode, whole};

fn reported(message: &str) -> Verdict {
    Verdict::Failed(AnswerError::Reported { message: Some(message.to_owned()) })
}

/// Values of more than 1 MiB, with and without brackets and quotes: a string, lists and objects of many and of few values.
fn fillers() -> Vec<String> {
    let item = |value: &str, count: usize| vec![value; count].join(",");
    let members: Vec<String> = (0..60_000).map(|at| format!("\"member-{at}\":{at}")).collect();
    vec![
        format!("\"{}\"", "x".repeat(MAX_EVENT + 4_000)),
        format!("\"{}\"", "\\\"}".repeat(400_000)),
        format!("\"{}\"", "\\u00e4".repeat(200_000)),
        format!("[{}]", item("{\"type\":\"text\",\"text\":\"a\"}", 50_000)),
        format!("[{}]", item("{\"error\":{\"message\":\"no\"},\"state\":\"failed\"}", 40_000)),
        format!("[{}]", item("[[[[[[1, 2 ]]]]]]", 80_000)),
        format!("{{\"a\":{{\"b\":[{}]}}}}", item("\"} ]\"", 200_000)),
        format!("{{{}}}", members.join(",")),
        format!("[{}{}]", "[".repeat(600_000), "]".repeat(600_000)),
        format!("[{{\"text\":\"{}\"}},{{\"text\":\"{}\"}}]", "x".repeat(600_000), "y".repeat(600_000)),
    ]
}

/// Reads an object as a document, a line and an event; all must record the same. An event of which a single line in
/// several was too long to keep is no success.
fn everywhere(object: &str) -> Outcome {
    let document = whole(JSON, object);
    for (of, body) in [(NDJSON, format!("{object}\n")), (SSE, format!("event: message\ndata: {object}\n\n"))] {
        let outcome = decode(of, body.as_bytes().chunks(1000), End::Framed);
        assert_eq!(outcome.verdict, document.verdict, "{of:?} {}", shown(object));
    }
    let verdict = whole(SSE, format!("data: {}\n\n", object.replacen(':', ":\ndata: ", 1))).verdict;
    assert!(matches!(verdict, Verdict::Interrupted(_) | Verdict::Failed(_)), "{verdict:?} {}", shown(object));
    document
}

fn shown(object: &str) -> String {
    format!("{} … {}", &object[..object.len().min(120)], &object[object.len() - object.len().min(160)..])
}

/// What says how the run ended is heard wherever it stands in a large member.
#[test]
fn the_end_of_a_large_member_says_how_the_run_ended() {
    let short = Verdict::Incomplete;
    let fillers = fillers();
    let rows = [
        // MCP
        (r#"{"jsonrpc":"2.0","id":1,"result":{"content":@,"isError":true}}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"a":@},"content":@,"isError":true}}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":@}],"isError":true}}"#, None),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":@}],"isError":false}}"#,
            Some(Verdict::Completed),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"data":@,"message":"closed"}}"#, None),
        // A2A
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"kind":"task","artifacts":@,"status":{"state":"completed"}}}"#,
            Some(Verdict::Completed),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"kind":"task","history":@,"status":{"state":"failed"}}}"#, None),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"history":@,"status":{"message":@,"state":"failed"},"kind":"task"}}"#,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"artifacts":@,"history":@,"status":{"state":"TASK_STATE_FAILED"}}}}"#,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"history":[@],"artifacts":[@],"status":{"state":"TASK_STATE_COMPLETED"}}}}"#,
            Some(Verdict::Completed),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"history":@,"status":{"state":"TASK_STATE_INPUT_REQUIRED"}}}}"#,
            Some(short(FinishReason::InputRequired)),
        ),
        // OpenAI
        (
            r#"{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":@},"finish_reason":"stop"}]}"#,
            Some(Verdict::Completed),
        ),
        (
            r#"{"object":"chat.completion","choices":[{"message":{"content":@},"logprobs":@,"finish_reason":"length"}]}"#,
            Some(short(FinishReason::MaxTokens)),
        ),
        (
            r#"{"type":"response.completed","response":{"output":@,"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
            Some(short(FinishReason::ContentFilter)),
        ),
        (
            r#"{"type":"response.completed","response":{"instructions":@,"output":@,"error":{"message":"closed"}}}"#,
            None,
        ),
        // An agent's own
        (r#"{"data":{"log":@,"status":"error","error":"closed"}}"#, None),
        (r#"{"data":{"log":@,"success":false,"message":"closed"}}"#, None),
        (r#"{"text":@,"content":@,"output":{"log":@,"error":"closed"}}"#, None),
        (r#"{"result":{"message":{"content":@},"stop_reason":"max_tokens"}}"#, Some(short(FinishReason::MaxTokens))),
        (r#"{"response":{"output":@,"stopReason":"guardrail_intervened"}}"#, Some(short(FinishReason::Guardrail))),
        (r#"{"error":{"data":@,"message":"closed"}}"#, None),
        (r#"{"result":{"log":@,"text":"fine"}}"#, Some(Verdict::Completed)),
        (r#"{"data":{"log":@,"error":{"title":"boom"}}}"#, None),
        (r#"{"data":{"log":@,"errors":[{"title":"boom"}]}}"#, None),
        (r#"{"result":{"log":@,"exception":{"title":"boom"}}}"#, None),
        (r#"{"output":{"log":@,"throttlingException":{"title":"boom"}}}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"data":@,"error":{"title":"boom"}}}"#, None),
        // Others
        (
            r#"{"type":"RUN_FINISHED","result":@,"outcome":{"interrupts":@,"type":"interrupt"}}"#,
            Some(short(FinishReason::Interrupt)),
        ),
        (
            r#"{"type":"finish","runId":"1","payload":{"output":@,"stepResult":{"log":@,"reason":"length"}}}"#,
            Some(short(FinishReason::MaxTokens)),
        ),
        (
            r#"{"object":"chat.completion","choices":[{"message":{"content":@,"refusal":"No."},"finish_reason":"stop"}]}"#,
            Some(short(FinishReason::Refusal)),
        ),
    ];
    for (at, (row, verdict)) in rows.iter().enumerate() {
        // Each row with some of them, each of them with some rows.
        for filler in [0, 3, 7].map(|step| &fillers[(at + step) % fillers.len()]) {
            let object = row.replace('@', filler);
            let outcome = everywhere(&object);
            match verdict {
                Some(verdict) => assert_eq!(&outcome.verdict, verdict, "{}", shown(&object)),
                None => {
                    assert!(matches!(outcome.verdict, Verdict::Failed(_)), "{:?} {}", outcome.verdict, shown(&object))
                }
            }
            if row.contains("closed") {
                assert_eq!(outcome.verdict, reported("closed"), "{}", shown(&object));
            }
        }
    }
}

/// The answer of a large document is cut, not lost.
#[test]
fn the_text_of_a_large_document_is_kept_up_to_its_limit() {
    for row in [
        r#"{"result":@}"#,
        r#"{"result":{"content":[{"text":@}]}}"#,
        r#"{"response":{"message":{"content":[{"type":"text","text":@}]},"log":@}}"#,
        r#"{"output":{"text":@},"log":{"a":@}}"#,
        r#"[{"text":@}]"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":@}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"kind":"task","artifacts":[{"parts":[{"kind":"text","text":@}]}],"status":{"state":"completed"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"message":{"parts":[{"text":@}],"role":"ROLE_AGENT"}}}"#,
        r#"{"object":"chat.completion","choices":[{"message":{"content":@},"finish_reason":"stop"}]}"#,
        r#"{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":@}]}]}"#,
        r#"{"type":"message","role":"assistant","content":[{"type":"text","text":@}],"stop_reason":"end_turn"}"#,
        r#"{"messages":[{"type":"human","content":"hi"},{"type":"ai","content":@}]}"#,
        r#"{"type":"agent_result","message":{"role":"assistant","content":[{"text":@}]},"stop_reason":"end_turn"}"#,
        r#"{"type":"agentResult","lastMessage":{"role":"assistant","content":[{"text":@}]},"stopReason":"endTurn"}"#,
        r#"[{"invocationId":"1","author":"a","content":{"role":"model","parts":[{"text":@}]}}]"#,
    ] {
        for part in ["x", "\\u00e4", "\\u65e5", "日"] {
            let object = row.replace('@', &format!("\"{}\"", part.repeat(1_200_000 / part.len())));
            let outcome = whole(JSON, &object);
            assert_eq!(outcome.verdict, Verdict::Completed, "{row}");
            let output = outcome.output.unwrap_or_else(|| panic!("no answer: {row}"));
            assert!(output.truncated && output.text.len() > 8 * 1024 - 4, "{part} {row}: {}", output.text.len());
        }
    }
}

/// A large frame that says more than could be kept of what may say how the run ended is not believed.
#[test]
fn a_frame_of_which_too_much_is_lost_completes_nothing() {
    let flood = vec!["\"error\":null"; 100_000].join(",");
    let floods = vec![format!("\"text\":\"{}\"", "x".repeat(30_000)); 40].join(",");
    for object in [
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{{flood},\"isError\":true}}}}"),
        format!("{{\"data\":{{\"text\":\"a\",{flood},\"error\":\"boom\"}}}}"),
        format!("{{{floods},\"error\":\"boom\"}}"),
        format!("{{\"data\":{{\"text\":\"a\" x,\"log\":\"{}\"}}}}", "x".repeat(1_100_000)),
    ] {
        for (of, body) in [(JSON, object.clone()), (NDJSON, format!("{{\"text\":\"a\"}}\n{object}\n"))] {
            let verdict = whole(of, body).verdict;
            let is_success = matches!(verdict, Verdict::Completed | Verdict::Incomplete(_));
            assert!(!is_success, "{verdict:?} {}", shown(&object));
        }
        // Further answer shows that the agent went on.
        let body = format!("{object}\n{{\"text\":\"b\"}}\n");
        if object.starts_with("{\"data\"") {
            assert_eq!(whole(NDJSON, body).verdict, Verdict::Completed, "{}", shown(&object));
        }
    }
}

/// However little room is left for a member that may say how the run ended, it does not become an empty one.
#[test]
fn a_member_behind_many_texts_is_not_emptied() {
    for count in 4..14 {
        let texts = format!("\"text\":\"{}\",", "x".repeat(30_000)).repeat(count) + &"\"x\":1,".repeat(130_000);
        for (member, verdict) in [
            (r#""error":{"title":"boom"}"#, None),
            (r#""errors":[{"title":"boom"}]"#, None),
            (r#""throttlingException":{"title":"boom"}"#, None),
            (r#""__error__":{"title":"boom"}"#, None),
            (r#""interrupt":{"value":"May I?"}"#, Some(FinishReason::Interrupt)),
            (r#""__interrupt__":[{"value":"May I?"}]"#, Some(FinishReason::Interrupt)),
            (r#""tripwire":{"value":1}"#, Some(FinishReason::Guardrail)),
        ] {
            let outcome = whole(NDJSON, format!("{{{texts}{member}}}\n"));
            match (&outcome.verdict, verdict) {
                (Verdict::Failed(_), None) | (Verdict::Interrupted(_), _) => {}
                (Verdict::Incomplete(reason), Some(expected)) => assert_eq!(*reason, expected),
                (other, _) => panic!("{other:?} behind {count}: {member}"),
            }
        }
    }
}

/// An object with something behind it is no event, however large it is.
#[test]
fn a_large_event_with_something_behind_it_is_not_believed() {
    let log = "x".repeat(MAX_EVENT);
    for behind in ["}", " x", "]", " {}", "\"}"] {
        let event = format!("{{\"type\":\"serverCompletionEvent\",\"log\":\"{log}\"}}{behind}");
        for (of, body) in [(NDJSON, format!("{event}\n")), (SSE, format!("data: {event}\n\n"))] {
            let verdict = whole(of, body).verdict;
            assert_eq!(verdict, Verdict::Interrupted(Interruption::NoTerminalEvent), "{of:?} {behind}");
        }
    }
}
