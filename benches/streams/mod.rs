//! One stream of small events for each protocol, as its agents send them: deltas of 150 to 300 bytes.

/// A stream: how it begins, the event that is sent again and again, and how it ends.
pub(crate) struct Stream {
    /// The protocol.
    pub(crate) name: &'static str,
    /// The answer's content type.
    pub(crate) content_type: &'static str,
    /// What comes before the deltas.
    pub(crate) begin: String,
    /// One delta, framed.
    pub(crate) delta: String,
    /// What ends the run.
    pub(crate) end: String,
}

const SSE: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

/// A stream of server-sent events with these data; `event` is their name, if they have one.
fn sse(name: &'static str, event: &str, [begin, json, end]: [&str; 3]) -> Stream {
    let frame = |data: &str, event: &str| match (data, event) {
        ("", _) => String::new(),
        (_, "") => format!("data: {data}\n\n"),
        _ => format!("event: {event}\ndata: {data}\n\n"),
    };
    Stream { name, content_type: SSE, begin: frame(begin, ""), delta: frame(json, event), end: frame(end, "") }
}

fn ndjson(name: &'static str, [begin, json, end]: [&str; 3]) -> Stream {
    let [begin, delta, end] =
        [begin, json, end].map(|line| if line.is_empty() { String::new() } else { format!("{line}\n") });
    Stream { name, content_type: NDJSON, begin, delta, end }
}

/// All streams.
#[rustfmt::skip]
pub(crate) fn all() -> Vec<Stream> {
    const TEXT: &str = "The quick brown fox jumps over the lazy dog, and then some.";
    let texts = |count: usize| vec![TEXT; count].join(" ");
    let (one, two, three) = (texts(1), texts(2), texts(3));
    let mut langgraph = sse("langgraph", "messages", ["", &format!(r#"[{{"content":"{one}","additional_kwargs":{{}},"response_metadata":{{}},"type":"AIMessageChunk","name":null,"id":"run--01a2194b","tool_calls":[],"invalid_tool_calls":[],"usage_metadata":null}},{{"langgraph_step":1}}]"#), ""]);
    langgraph.begin = "event: values\ndata: {\"messages\":[]}\n\n".to_owned();
    let mut langserve = sse("langserve", "data", ["", &format!("\"{three}\""), ""]);
    langserve.end = "event: end\n\n".to_owned();
    vec![
        ndjson("strands-typescript, NDJSON", [r#"{"type":"beforeInvocationEvent"}"#, &format!(r#"{{"type":"modelContentBlockDeltaEvent","delta":{{"type":"textDelta","text":"{two}"}}}}"#), r#"{"type":"serverCompletionEvent"}"#]),
        sse("strands-typescript", "", [r#"{"type":"beforeInvocationEvent"}"#, &format!(r#"{{"type":"modelStreamUpdateEvent","event":{{"type":"modelContentBlockDeltaEvent","delta":{{"type":"textDelta","text":"{one}"}}}}}}"#), r#"{"type":"serverCompletionEvent"}"#]),
        sse("strands", "", [r#"{"init_event_loop":true}"#, &format!(r#"{{"event": {{"contentBlockDelta": {{"contentBlockIndex": 0, "delta": {{"text": "{two}"}}}}}}}}"#), ""]),
        sse("ag-ui", "", [r#"{"type":"RUN_STARTED","threadId":"t1","runId":"r1"}"#, &format!(r#"{{"type":"TEXT_MESSAGE_CONTENT","messageId":"8c1770c2-bbb5-4703-83cb-03821f93efe7","delta":"{one}"}}"#), r#"{"type":"RUN_FINISHED","threadId":"t1","runId":"r1"}"#]),
        sse("a2a, 0.3", "", ["", &format!(r#"{{"id":"1","jsonrpc":"2.0","result":{{"append":true,"artifact":{{"artifactId":"a1","name":"answer","parts":[{{"kind":"text","text":"{one}"}}]}},"contextId":"bdc7204c","kind":"artifact-update","lastChunk":false,"taskId":"cbf85fc8"}}}}"#), r#"{"jsonrpc":"2.0","result":{"kind":"status-update","status":{"state":"completed"}}}"#]),
        sse("a2a, 1.0", "", ["", &format!(r#"{{"result": {{"artifactUpdate": {{"taskId": "81bb4cd2", "contextId": "3d1efd4d", "artifact": {{"artifactId": "a1", "name": "answer", "parts": [{{"text": "{one}"}}]}}, "append": true}}}}, "id": "1", "jsonrpc": "2.0"}}"#), r#"{"jsonrpc":"2.0","result":{"statusUpdate":{"status":{"state":"TASK_STATE_COMPLETED"}}}}"#]),
        sse("mcp", "message", ["", &format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"abc","progress":50,"total":100,"message":"{one}"}}}}"#), r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#]),
        sse("openai-responses", "response.output_text.delta", [r#"{"type":"response.created"}"#, &format!(r#"{{"type":"response.output_text.delta","sequence_number":2,"item_id":"msg_68a1b2c3d4e5f60718293a4b5c6d7e8f","output_index":0,"content_index":0,"delta":"{one}"}}"#), r#"{"type":"response.completed","response":{"status":"completed"}}"#]),
        sse("openai-chat", "", ["", &format!(r#"{{"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini","system_fingerprint":"fp_44709d6fcb","choices":[{{"index":0,"delta":{{"content":"{one}"}},"logprobs":null,"finish_reason":null}}]}}"#), r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#]),
        sse("anthropic", "content_block_delta", [r#"{"type":"message_start","message":{"role":"assistant"}}"#, &format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{two}"}}}}"#), r#"{"type":"message_stop"}"#]),
        sse("vercel", "", [r#"{"type":"start"}"#, &format!(r#"{{"type":"text-delta","id":"631b3c7b-558d-445a-827f-359f366c63b6","delta":"{two}"}}"#), r#"{"type":"finish"}"#]),
        langgraph,
        langserve,
        sse("adk", "", ["", &format!(r#"{{"content":{{"parts":[{{"text":"{one}"}}],"role":"model"}},"partial":true,"invocationId":"e-7580614d-7ff6-4f7f","author":"agent","actions":{{"stateDelta":{{}},"artifactDelta":{{}}}},"id":"ce0601bc","timestamp":1795720688.33}}"#), ""]),
        sse("mastra", "", ["", &format!(r#"{{"type":"text-delta","runId":"2a6e917a-3d63-45db-ac0d-fbd11ec465ee","from":"AGENT","payload":{{"id":"1","text":"{one}"}}}}"#), r#"{"type":"finish","runId":"1","payload":{"stepResult":{"reason":"stop"}}}"#]),
        sse("bedrock", "", [r#"{"messageStart":{"role":"assistant"}}"#, &format!(r#"{{"contentBlockDelta":{{"delta":{{"text":"{two}"}},"contentBlockIndex":0}}}}"#), r#"{"messageStop":{"stopReason":"end_turn"}}"#]),
        sse("generic, objects", "", ["", &format!(r#"{{"type": "chunk", "content": "{three}"}}"#), ""]),
        ndjson("generic, NDJSON", ["", &format!(r#"{{"data": "{three}"}}"#), ""]),
        sse("generic, strings", "", ["", &format!("\"{three}\""), ""]),
        sse("generic, unknown", "", ["", &format!(r#"{{"kind": "tick", "value": {{"a": [1, 2, 3], "b": "{two}"}}}}"#), ""]),
    ]
}
