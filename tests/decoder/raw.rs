//! Raw answers of models that an agent passes on as they are: how the model stopped, its text and its tokens are heard.

use agent_trigger::domain::answer::{AnswerError, End, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;
use agent_trigger::domain::protocol::Protocol;

use crate::{JSON, NDJSON, SSE, decode, whole};

const COMPLETED: Verdict = Verdict::Completed;
const CUT: Verdict = Verdict::Incomplete(FinishReason::MaxTokens);
const FILTERED: Verdict = Verdict::Incomplete(FinishReason::ContentFilter);

/// A content type, a body, and what must be read: the verdict, the text, and the tokens in, out and from the cache.
type Row = (Option<&'static str>, String, Verdict, &'static str, Option<[u64; 3]>);

fn failed(words: &str) -> Verdict {
    Verdict::Failed(AnswerError::Reported { message: Some(words.to_owned()) })
}

fn text(outcome: &Outcome) -> &str {
    outcome.output.as_ref().map(|output| output.text.as_str()).unwrap_or_default()
}

fn usage(outcome: &Outcome) -> Option<[u64; 3]> {
    outcome.progress.usage.map(|usage| [usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens])
}

/// Checks each row, whole, byte by byte and split in two, and what the whole of them get wrong.
fn check(rows: impl IntoIterator<Item = Row>) {
    let mut wrong = Vec::new();
    for (of, body, verdict, answer, tokens) in rows {
        let outcome = whole(of, &body);
        let is = (outcome.verdict.clone(), text(&outcome), usage(&outcome));
        // The record of a failure keeps the words alone.
        let answer = if matches!(verdict, Verdict::Failed(_)) { is.1 } else { answer };
        if is != (verdict.clone(), answer, tokens) {
            wrong.push(format!("{body}\n    is {is:?}\n    not {:?}", (verdict, answer, tokens)));
        }
        assert_eq!(decode(of, body.as_bytes().chunks(1), End::Framed), outcome, "{body}");
        for at in (0..body.len()).step_by(7) {
            let (first, second) = body.as_bytes().split_at(at);
            assert_eq!(decode(of, [first, second], End::Framed), outcome, "{body} split at {at}");
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn sse(frames: &[&str]) -> String {
    frames.iter().map(|frame| format!("data: {frame}\r\n\r\n")).collect()
}

fn lines(frames: &[&str]) -> String {
    frames.iter().map(|frame| format!("{frame}\n")).collect()
}

fn array(frames: &[&str]) -> String {
    format!("[{}\n]", frames.join("\n,\r\n"))
}

const OK: &str = "Three files came in.";
const STREAM: [&str; 4] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"Let me count.","thought":true}],"role":"model"}}],"usageMetadata":{"promptTokenCount":21,"totalTokenCount":25,"thoughtsTokenCount":4},"modelVersion":"gemini-2.5-flash","responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"Three files "}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":21,"candidatesTokenCount":2,"thoughtsTokenCount":4},"responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"came"},{"text":" in."}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":21,"candidatesTokenCount":3,"thoughtsTokenCount":4},"responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"@","index":0}],"usageMetadata":{"promptTokenCount":21,"candidatesTokenCount":4,"thoughtsTokenCount":4,"cachedContentTokenCount":7},"responseId":"r1"}"#,
];

fn gemini(reason: &str) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{OK}"}}],"role":"model"}},"finishReason":{reason},"index":0,"safetyRatings":[]}}],"promptFeedback":{{"safetyRatings":[]}},"usageMetadata":{{"promptTokenCount":21,"candidatesTokenCount":5,"totalTokenCount":29,"thoughtsTokenCount":3,"cachedContentTokenCount":7}},"modelVersion":"gemini-2.5-flash"}}"#
    )
}

/// As the Python SDK's `model_dump` writes it.
fn dumped(reason: &str) -> String {
    format!(
        r#"{{"sdk_http_response":null,"candidates":[{{"content":{{"parts":[{{"video_metadata":null,"thought":null,"text":"{OK}"}}],"role":"model"}},"finish_message":null,"finish_reason":{reason},"index":0}}],"prompt_feedback":null,"response_id":"r1","usage_metadata":{{"cached_content_token_count":7,"candidates_token_count":5,"prompt_token_count":21,"thoughts_token_count":3,"tool_use_prompt_token_count":null,"total_token_count":29}},"parsed":null}}"#
    )
}

#[test]
fn gemini_says_how_it_stopped() {
    let tokens = Some([21, 8, 7]);
    let mut rows: Vec<Row> = vec![
        (JSON, gemini("\"STOP\""), COMPLETED, OK, tokens),
        (JSON, gemini("\"FINISH_REASON_UNSPECIFIED\""), COMPLETED, OK, tokens),
        (JSON, gemini("null"), COMPLETED, OK, tokens),
        (JSON, gemini("\"MAX_TOKENS\""), CUT, OK, tokens),
        (JSON, gemini("\"TOO_MANY_TOOL_CALLS\""), Verdict::Incomplete(FinishReason::Limit), OK, tokens),
        (JSON, dumped("\"STOP\""), COMPLETED, OK, tokens),
        (JSON, dumped("\"MAX_TOKENS\""), CUT, OK, tokens),
        (JSON, dumped("\"FinishReason.STOP\""), COMPLETED, OK, tokens),
        (JSON, dumped("\"FinishReason.MAX_TOKENS\""), CUT, OK, tokens),
        (JSON, dumped("\"FinishReason.SAFETY\""), FILTERED, OK, tokens),
        // The older SDK's `to_dict` writes the numbers of the words.
        (JSON, dumped("1"), COMPLETED, OK, tokens),
        (JSON, dumped("2"), CUT, OK, tokens),
        (JSON, dumped("3"), FILTERED, OK, tokens),
    ];
    for word in
        ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR", "LANGUAGE"]
    {
        rows.push((JSON, gemini(&format!("\"{word}\"")), FILTERED, OK, tokens));
        let bare = format!(r#"{{"candidates":[{{"finishReason":"{word}","index":0}}]}}"#);
        rows.push((JSON, bare, FILTERED, "", None));
    }
    for word in [
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "IMAGE_OTHER",
        "OTHER",
    ] {
        rows.push((JSON, gemini(&format!("\"{word}\"")), failed(word), OK, tokens));
        let told = format!(
            r#"{{"candidates":[{{"content":{{}},"finishReason":"{word}","finishMessage":"Malformed function call: print(","index":0}}]}}"#
        );
        rows.push((JSON, told, failed("Malformed function call: print("), "", None));
    }
    // All of the tokens went into thoughts.
    let thought = r#"{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS","index":0}],"usageMetadata":{"promptTokenCount":21,"thoughtsTokenCount":8}}"#;
    rows.push((JSON, thought.to_owned(), CUT, "", Some([21, 8, 0])));
    // A stream of numbers: 0 says nothing.
    let number = |reason: u8| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finish_reason":{reason}}}],"prompt_feedback":{{"block_reason":0}}}}"#
        )
    };
    rows.push((SSE, sse(&[&number(0), &number(2), &number(0)]), CUT, "aaa", None));
    // One of two members of a name says more.
    for members in [
        r#""finishReason":"STOP","finishReason":"MAX_TOKENS""#,
        r#""finishReason":"MAX_TOKENS","finishReason":"STOP""#,
        r#""finishReason":"STOP","finish_reason":"MAX_TOKENS""#,
        r#""finish_reason":"STOP","finishReason":"MAX_TOKENS""#,
    ] {
        let candidate = format!(r#"{{"content":{{"parts":[{{"text":"Yes."}}]}},{members}}}"#);
        rows.push((JSON, format!(r#"{{"candidates":[{candidate}]}}"#), CUT, "Yes.", None));
    }
    let both =
        r#"{"candidates":[{"finishReason":"STOP","index":0}],"candidates":[{"finishReason":"MAX_TOKENS","index":0}]}"#;
    rows.push((SSE, sse(&[both]), CUT, "", None));
    // The first candidate is the answer.
    let two = r#"{"candidates":[{"content":{"parts":[{"text":"No."}]},"finishReason":"MAX_TOKENS","index":1},{"content":{"parts":[{"text":"Yes."}]},"finishReason":"STOP","index":0}]}"#;
    rows.push((JSON, two.to_owned(), COMPLETED, "Yes.", None));
    check(rows);
}

#[test]
fn gemini_says_that_it_blocked_the_prompt() {
    let mut rows: Vec<Row> = Vec::new();
    for feedback in [
        r#""promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}"#,
        r#""promptFeedback":{"safetyRatings":[],"blockReason":"OTHER"}"#,
        r#""candidates":null,"prompt_feedback":{"block_reason":"SAFETY","block_reason_message":null}"#,
        r#""candidates":[],"prompt_feedback":{"block_reason":"BlockedReason.BLOCKLIST"}"#,
    ] {
        let body = format!(r#"{{{feedback},"usageMetadata":{{"promptTokenCount":21,"totalTokenCount":21}}}}"#);
        rows.push((JSON, body.clone(), FILTERED, "", Some([21, 0, 0])));
        rows.push((SSE, sse(&[&body]), FILTERED, "", Some([21, 0, 0])));
    }
    let said = r#"{"promptFeedback":{"blockReason":null},"candidates":[{"content":{"parts":[{"text":"Yes."}]},"finishReason":"STOP"}]}"#;
    rows.push((JSON, said.to_owned(), COMPLETED, "Yes.", None));
    check(rows);
}

#[test]
fn gemini_streams_in_every_framing() {
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [
        ("STOP", COMPLETED),
        ("MAX_TOKENS", CUT),
        ("SAFETY", FILTERED),
        ("MALFORMED_FUNCTION_CALL", failed("MALFORMED_FUNCTION_CALL")),
    ] {
        let last = STREAM[3].replace('@', word);
        let frames = [STREAM[0], STREAM[1], STREAM[2], &last];
        for (of, body) in [
            (SSE, sse(&frames)),
            (NDJSON, lines(&frames)),
            (JSON, array(&frames)),
            (JSON, lines(&frames)),
            (None, sse(&frames)),
        ] {
            rows.push((of, body, verdict.clone(), OK, Some([21, 8, 7])));
        }
    }
    let error = r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#;
    let overloaded = failed("The model is overloaded.");
    rows.push((JSON, error.to_owned(), overloaded.clone(), "", None));
    for (of, body) in
        [(SSE, sse(&[STREAM[1], error])), (NDJSON, lines(&[STREAM[1], error])), (JSON, array(&[STREAM[1], error]))]
    {
        rows.push((of, body, overloaded.clone(), "", Some([21, 6, 0])));
    }
    // Older models say `STOP` in each piece.
    let piece = r#"{"candidates":[{"content":{"parts":[{"text":"Yes"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":21,"candidatesTokenCount":1}}"#;
    let last = piece.replace("Yes", " indeed.").replace("\"candidatesTokenCount\":1", "\"candidatesTokenCount\":8");
    rows.push((SSE, sse(&[piece, &last]), COMPLETED, "Yes indeed.", Some([21, 8, 0])));
    // Two calls of the model: the last word is that of the second, and the tokens are those of both.
    let first = STREAM[3].replace('@', "MAX_TOKENS").replace(r#""text":"""#, r#""text":"Well. ""#);
    let second = STREAM[3].replace('@', "STOP").replace(r#""text":"""#, r#""text":"Yes.""#).replace("r1", "r2");
    rows.push((NDJSON, lines(&[&first, &second]), COMPLETED, "Well. Yes.", Some([42, 16, 14])));
    check(rows);
}

/// Agents put the model's answer under a member of theirs, or serialize it twice.
#[test]
fn a_raw_answer_may_stand_in_the_place_of_the_answer() {
    let titan =
        r#"{"inputTextTokenCount":21,"results":[{"tokenCount":8,"outputText":"Yes.","completionReason":"LENGTH"}]}"#;
    let mut rows: Vec<Row> = Vec::new();
    for member in ["response", "result", "output", "data", "answer", "message"] {
        let body = format!(r#"{{"{member}":{},"ok":true}}"#, gemini("\"MAX_TOKENS\""));
        rows.push((JSON, body, CUT, OK, Some([21, 8, 7])));
        rows.push((JSON, format!(r#"{{"{member}":{titan}}}"#), CUT, "Yes.", Some([21, 8, 0])));
    }
    let twice = serde_json::to_string(&gemini("\"SAFETY\"")).expect("a string");
    rows.push((JSON, twice.clone(), FILTERED, OK, Some([21, 8, 7])));
    rows.push((SSE, sse(&[&twice]), FILTERED, OK, Some([21, 8, 7])));
    let last = STREAM[3].replace('@', "MAX_TOKENS");
    let wrapped = [STREAM[0], STREAM[1], STREAM[2], &last].map(|frame| format!(r#"{{"response":{frame}}}"#));
    rows.push((SSE, sse(&wrapped.each_ref().map(String::as_str)), CUT, OK, Some([21, 8, 7])));
    // The agent's own words come first.
    let own = format!(r#"{{"answer":"Three.",{}"#, &gemini("\"MAX_TOKENS\"")[1..]);
    rows.push((JSON, own, CUT, "Three.", Some([21, 8, 7])));
    let own = format!(r#"{{"message":"ok",{}"#, &gemini("\"STOP\"")[1..]);
    rows.push((JSON, own, COMPLETED, OK, Some([21, 8, 7])));
    let word = r#"{"text":"Yes.","finish_reason":"FinishReason.MAX_TOKENS"}"#;
    rows.push((JSON, word.to_owned(), CUT, "Yes.", None));
    let word = r#"{"text":"Yes.","finish_reason":"MALFORMED_FUNCTION_CALL"}"#;
    rows.push((JSON, word.to_owned(), failed("Yes."), "", None));
    check(rows);
}

#[test]
fn titan_says_how_it_stopped() {
    let document = |reason: &str| {
        format!(
            r#"{{"inputTextTokenCount":21,"results":[{{"tokenCount":8,"outputText":"{OK}","completionReason":"{reason}"}}]}}"#
        )
    };
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [
        ("FINISH", COMPLETED),
        ("FINISHED", COMPLETED),
        ("STOP_CRITERIA_MET", COMPLETED),
        ("LENGTH", CUT),
        ("CONTENT_FILTERED", FILTERED),
        ("RAG_QUERY_WHEN_RAG_DISABLED", failed("RAG_QUERY_WHEN_RAG_DISABLED")),
    ] {
        rows.push((JSON, document(word), verdict.clone(), OK, Some([21, 8, 0])));
        let first = r#"{"outputText":"Three files ","index":0,"totalOutputTextTokenCount":null,"completionReason":null,"inputTextTokenCount":21}"#;
        let last = format!(
            r#"{{"outputText":"came in.","index":0,"totalOutputTextTokenCount":8,"completionReason":"{word}","inputTextTokenCount":null,"amazon-bedrock-invocationMetrics":{{"inputTokenCount":21,"outputTokenCount":8,"invocationLatency":9,"firstByteLatency":9}}}}"#
        );
        rows.push((SSE, sse(&[first, &last]), verdict.clone(), OK, Some([21, 8, 0])));
        rows.push((NDJSON, lines(&[first, &last]), verdict, OK, Some([21, 8, 0])));
    }
    rows.push((
        NDJSON,
        lines(&[&document("LENGTH"), &document("FINISH")]),
        COMPLETED,
        "Three files came in.Three files came in.",
        Some([42, 16, 0]),
    ));
    check(rows);
}

#[test]
fn llama_says_how_it_stopped() {
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [("stop", COMPLETED), ("length", CUT)] {
        let document = format!(
            r#"{{"generation":"{OK}","prompt_token_count":21,"generation_token_count":8,"stop_reason":"{word}"}}"#
        );
        rows.push((JSON, document, verdict.clone(), OK, Some([21, 8, 0])));
        let first =
            r#"{"generation":"Three files ","prompt_token_count":21,"generation_token_count":4,"stop_reason":null}"#;
        let next =
            r#"{"generation":"came in.","prompt_token_count":null,"generation_token_count":7,"stop_reason":null}"#;
        let last = format!(
            r#"{{"generation":"","prompt_token_count":null,"generation_token_count":8,"stop_reason":"{word}","amazon-bedrock-invocationMetrics":{{"inputTokenCount":21,"outputTokenCount":8}}}}"#
        );
        rows.push((SSE, sse(&[first, next, &last]), verdict.clone(), OK, Some([21, 8, 0])));
        rows.push((NDJSON, lines(&[first, next, &last]), verdict, OK, Some([21, 8, 0])));
    }
    check(rows);
}

#[test]
fn mistral_and_its_like_say_how_they_stopped() {
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [("stop", COMPLETED), ("length", CUT)] {
        for (list, member) in [("outputs", "stop_reason"), ("choices", "stop_reason"), ("choices", "finish_reason")] {
            let document = format!(r#"{{"{list}":[{{"text":"{OK}","{member}":"{word}"}}]}}"#);
            rows.push((JSON, document, verdict.clone(), OK, None));
            let first = format!(r#"{{"{list}":[{{"text":"Three files ","{member}":null}}]}}"#);
            let last = format!(
                r#"{{"{list}":[{{"text":"came in.","{member}":"{word}"}}],"amazon-bedrock-invocationMetrics":{{"inputTokenCount":21,"outputTokenCount":8}}}}"#
            );
            rows.push((SSE, sse(&[&first, &last]), verdict.clone(), OK, Some([21, 8, 0])));
        }
    }
    let completion = r#"{"id":"c","object":"text_completion","choices":[{"index":0,"text":"Yes.","logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":21,"completion_tokens":8}}"#;
    rows.push((JSON, completion.to_owned(), CUT, "Yes.", Some([21, 8, 0])));
    let claude = r#"{"type":"completion","completion":" Yes.","stop_reason":"max_tokens","stop":null}"#;
    rows.push((JSON, claude.to_owned(), CUT, " Yes.", None));
    check(rows);
}

#[test]
fn cohere_says_how_it_stopped() {
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [
        ("COMPLETE", COMPLETED),
        ("MAX_TOKENS", CUT),
        ("ERROR_LIMIT", CUT),
        ("ERROR_TOXIC", FILTERED),
        ("USER_CANCEL", Verdict::Incomplete(FinishReason::Cancelled)),
    ] {
        let command = format!(
            r#"{{"generations":[{{"finish_reason":"{word}","id":"g","text":"{OK}"}}],"id":"i","prompt":"Which files?"}}"#
        );
        rows.push((JSON, command, verdict.clone(), OK, None));
        let command_r = format!(
            r#"{{"response_id":"i","generation_id":"g","text":"{OK}","finish_reason":"{word}","chat_history":[{{"role":"USER","message":"Which files?"}}],"meta":{{"api_version":{{"version":"1"}},"billed_units":{{"input_tokens":21,"output_tokens":8}}}}}}"#
        );
        rows.push((JSON, command_r, verdict.clone(), OK, Some([21, 8, 0])));
        let first = r#"{"text":"Three files ","is_finished":false,"index":0}"#;
        let next = r#"{"text":"came in.","is_finished":false,"index":0}"#;
        let last = format!(
            r#"{{"is_finished":true,"finish_reason":"{word}","amazon-bedrock-invocationMetrics":{{"inputTokenCount":21,"outputTokenCount":8}}}}"#
        );
        rows.push((SSE, sse(&[first, next, &last]), verdict.clone(), OK, Some([21, 8, 0])));
        let first = r#"{"event_type":"text-generation","text":"Three files ","is_finished":false}"#;
        let next = r#"{"event_type":"text-generation","text":"came in.","is_finished":false}"#;
        let last = format!(
            r#"{{"event_type":"stream-end","finish_reason":"{word}","is_finished":true,"response":{{"text":"{OK}","generation_id":"g","finish_reason":"{word}"}}}}"#
        );
        rows.push((NDJSON, lines(&[first, next, &last]), verdict, OK, None));
    }
    for body in [
        r#"{"generations":[{"finish_reason":"ERROR","id":"g","text":""}],"id":"i"}"#,
        r#"{"text":"","finish_reason":"ERROR","generation_id":"g"}"#,
    ] {
        let outcome = whole(JSON, body);
        assert!(matches!(outcome.verdict, Verdict::Failed(_)), "{body}: {:?}", outcome.verdict);
    }
    check(rows);
}

#[test]
fn converse_says_how_it_stopped() {
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [
        ("end_turn", COMPLETED),
        ("max_tokens", CUT),
        ("content_filtered", FILTERED),
        ("guardrail_intervened", Verdict::Incomplete(FinishReason::Guardrail)),
    ] {
        let document = format!(
            r#"{{"output":{{"message":{{"content":[{{"reasoningContent":{{"reasoningText":{{"text":"Hm."}}}}}},{{"text":"{OK}"}}],"role":"assistant"}}}},"stopReason":"{word}","usage":{{"inputTokens":21,"outputTokens":8,"totalTokens":29}},"metrics":{{"latencyMs":9}}}}"#
        );
        rows.push((JSON, document, verdict, OK, Some([21, 8, 0])));
    }
    check(rows);
}

/// Other bodies of Bedrock's are those of protocols.
#[test]
fn bodies_in_a_protocol_say_how_they_stopped() {
    let mut rows: Vec<Row> = Vec::new();
    for (word, verdict) in [("stop", COMPLETED), ("tool_calls", COMPLETED), ("length", CUT)] {
        let mistral = format!(
            r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{OK}"}},"stop_reason":"{word}"}}]}}"#
        );
        rows.push((JSON, mistral, verdict.clone(), OK, None));
        // A server's own `stop_reason` beside the word is the sequence at which it stopped.
        let vllm = format!(
            r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{OK}"}},"stop_reason":"length","finish_reason":"{word}"}}],"usage":{{"prompt_tokens":21,"completion_tokens":8}}}}"#
        );
        rows.push((JSON, vllm, verdict, OK, Some([21, 8, 0])));
    }
    for (word, verdict) in [("COMPLETE", COMPLETED), ("MAX_TOKENS", CUT), ("ERROR_TOXIC", FILTERED)] {
        let cohere = format!(
            r#"{{"id":"i","finish_reason":"{word}","message":{{"role":"assistant","content":[{{"type":"text","text":"{OK}"}}]}},"usage":{{"billed_units":{{"input_tokens":3,"output_tokens":8}},"tokens":{{"input_tokens":21,"output_tokens":8}}}}}}"#
        );
        rows.push((JSON, cohere, verdict, OK, Some([21, 8, 0])));
    }
    for (word, verdict) in [("end_turn", COMPLETED), ("max_tokens", CUT)] {
        let nova = [
            r#"{"messageStart":{"role":"assistant"}}"#.to_owned(),
            r#"{"contentBlockDelta":{"delta":{"text":"Three files "},"contentBlockIndex":0}}"#.to_owned(),
            r#"{"contentBlockDelta":{"delta":{"text":"came in."},"contentBlockIndex":0}}"#.to_owned(),
            r#"{"contentBlockStop":{"contentBlockIndex":0}}"#.to_owned(),
            format!(r#"{{"messageStop":{{"stopReason":"{word}"}}}}"#),
            r#"{"metadata":{"usage":{"inputTokens":21,"outputTokens":8}},"amazon-bedrock-invocationMetrics":{"inputTokenCount":21,"outputTokenCount":8}}"#.to_owned(),
        ];
        let frames = nova.each_ref().map(String::as_str);
        rows.push((SSE, sse(&frames), verdict.clone(), OK, Some([21, 8, 0])));
        rows.push((NDJSON, lines(&frames), verdict, OK, Some([21, 8, 0])));
    }
    check(rows);
}

/// Members of an agent's own that only have the name.
#[test]
fn what_is_near_a_raw_answer_is_read_as_before() {
    let mut rows: Vec<Row> = Vec::new();
    for own in [
        r#""candidates":[{"name":"Ada"}]"#,
        r#""candidates":["Ada"]"#,
        r#""candidates":[]"#,
        r#""candidates":{"content":{"parts":[{"text":"Ada"}]},"finishReason":"MAX_TOKENS"}"#,
        r#""candidates":[{"name":"Ada","content":"MAX_TOKENS","text":"CV"}]"#,
        r#""candidates":[{"name":"Ada","finishReason":null}]"#,
        r#""candidates":[{"name":"Ada","finishReason":"hired"}]"#,
        r#""candidates":[{"content":{"title":"Ada"}}]"#,
        r#""promptFeedback":{"rating":5}"#,
        r#""promptFeedback":"SAFETY""#,
        r#""promptFeedback":{"blockReason":""}"#,
        r#""results":[{"title":"A file","text":"length"}]"#,
        r#""results":[{"outputText":"A file"}]"#,
        r#""results":[{"completionReason":"LENGTH"}]"#,
        r#""results":3"#,
        r#""outputs":[{"text":"A file"}]"#,
        r#""outputs":[{"stop_reason":"length"}]"#,
        r#""outputs":[{"text":7,"stop_reason":"length"}]"#,
        r#""generations":[{"text":"A file"}]"#,
        r#""generations":[{"text":{"a":1},"finish_reason":"MAX_TOKENS"}]"#,
        r#""generation":"v2""#,
        r#""generation":4,"prompt_token_count":3"#,
        r#""outputText":"A file""#,
        r#""completion":"A file""#,
        r#""completion":0.7"#,
        r#""choices":[{"text":"Yes"},{"text":"No"}]"#,
        r#""generation_id":"g","meta":{"billed_units":"none"}"#,
    ] {
        let body = format!(r#"{{{own},"answer":"Done."}}"#);
        rows.push((JSON, body.clone(), COMPLETED, "Done.", None));
        rows.push((SSE, sse(&[&body]), COMPLETED, "Done.", None));
        rows.push((NDJSON, lines(&[&format!("{{{own}}}"), r#"{"text":"Done."}"#]), COMPLETED, "Done.", None));
        let inner = format!(r#"{{"result":{{{own}}},"answer":"Done."}}"#);
        rows.push((JSON, inner, COMPLETED, "Done.", None));
    }
    // Without any other answer the document is the answer.
    for body in [
        r#"{"candidates":[{"name":"Ada"}]}"#,
        r#"{"results":[{"title":"A file"}]}"#,
        r#"{"outputs":[{"text":"A file"}]}"#,
        r#"{"generations":[{"text":"A file"}]}"#,
    ] {
        rows.push((JSON, body.to_owned(), COMPLETED, body, None));
    }
    check(rows);
    let outcome = whole(JSON, gemini("\"STOP\""));
    assert_eq!(outcome.protocol, Protocol::Generic);
}

/// A document with a picture in it, of which only a part is kept.
#[test]
fn a_raw_answer_too_large_to_keep_says_how_it_stopped() {
    let picture = "A".repeat(1_200_000);
    let body = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"Look."}},{{"inlineData":{{"mimeType":"image/png","data":"{picture}"}}}}],"role":"model"}},"finishReason":"MAX_TOKENS","index":0}}],"usageMetadata":{{"promptTokenCount":21,"candidatesTokenCount":8}}}}"#
    );
    let outcome = whole(JSON, body);
    assert_eq!((outcome.verdict.clone(), text(&outcome), usage(&outcome)), (CUT, "Look.", Some([21, 8, 0])));
}

/// More of an answer than is kept must not hide how the model stopped.
#[test]
fn the_last_word_of_a_long_raw_answer_counts() {
    let piece = r#"{"candidates":[{"content":{"parts":[{"text":"Three files came in. "}],"role":"model"}}]}"#;
    let last = r#"{"candidates":[{"content":{"parts":[{"text":"more"}]},"finishReason":"MAX_TOKENS"}]}"#;
    let mut frames = vec![piece; 900];
    frames.push(last);
    let outcome = whole(SSE, sse(&frames));
    assert_eq!(outcome.verdict, CUT);
    assert!(outcome.output.is_some_and(|output| output.truncated));
    let mut frames = vec![r#"{"generation":"Three files came in. ","generation_token_count":5}"#; 900];
    frames.push(r#"{"generation":"more","generation_token_count":5,"stop_reason":"length"}"#);
    assert_eq!(whole(SSE, sse(&frames)).verdict, CUT);
}
