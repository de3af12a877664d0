//! What agents of each protocol are sent, field by field.

use serde_json::{Value, json};
use standins::{AgentRequest, Framing, Script, Stack, Step};

use crate::support::{
    execution,
    one_fire::{PROMPT, TRIGGER, fire_with},
    stack,
};

const SESSION: &str = "session-of-this-test";

/// An answer that is complete in its protocol.
fn answer(protocol: &str) -> Script {
    let frames = |frames: &[Value]| {
        let steps = frames.iter().map(|frame| Step::text(format!("data: {frame}\n\n")));
        Script::ok("text/event-stream", steps.collect::<Vec<_>>())
    };
    let a2a =
        json!({"kind": "message", "role": "agent", "messageId": "m", "parts": [{"kind": "text", "text": "done"}]});
    match protocol {
        "ag-ui" => frames(&[
            json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"}),
            json!({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"}),
            json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "done"}),
            json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}),
        ]),
        "a2a" => frames(&[json!({"jsonrpc": "2.0", "id": "1", "result": a2a})]),
        "a2a-1.0" => {
            let message = json!({"role": "ROLE_AGENT", "messageId": "m", "parts": [{"text": "done"}]});
            frames(&[json!({"jsonrpc": "2.0", "id": "1", "result": {"message": message}})])
        }
        "mcp" => {
            let result = json!({"content": [{"type": "text", "text": "done"}]});
            document(&json!({"jsonrpc": "2.0", "id": "1", "result": result}))
        }
        "openai-responses" => frames(&[
            json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
            json!({"type": "response.output_text.delta", "delta": "done"}),
            json!({"type": "response.completed", "response": {"id": "r", "status": "completed"}}),
        ]),
        "openai-chat" => frames(&[
            json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "done"}}]}),
            json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        ]),
        "langgraph" => Script::ok(
            "text/event-stream",
            [
                Step::text("event: metadata\ndata: {\"run_id\":\"r\"}\n\n"),
                Step::text("event: values\ndata: {\"messages\":[{\"type\":\"ai\",\"content\":\"done\"}]}\n\n"),
            ],
        ),
        "adk" => frames(&[json!({"invocationId": "i", "author": "a", "content": {"parts": [{"text": "done"}]}})]),
        _ => document(&json!({"response": "done"})),
    }
}

fn document(body: &Value) -> Script {
    Script::ok("application/json", [Step::text(body.to_string())]).framing(Framing::ContentLength)
}

/// Runs an agent of this definition, whose URL is that of the stand-in with `path`, and returns its requests and record.
async fn run(stack: &Stack, path: &str, members: &Value, detail: &Value) -> (Vec<AgentRequest>, Value) {
    let mut definition = json!({"url": format!("{}{path}", stack.agent.url()), "auth": "none"});
    for (name, value) in members.as_object().unwrap() {
        definition[name] = value.clone();
    }
    stack.agent.accept_any_bearer();
    stack.agent.serve_any_path();
    let agents = json!({"agent-1": definition}).to_string();
    let function = stack.function(&[("AGENTS", &agents), ("AGENT_API_URL", ""), ("COGNITO_CLIENT_ID", "")]).await;
    let mut fields = json!({"sessionId": SESSION});
    for (name, value) in detail.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let outcome = function.invoke(fire_with(&fields)).await;
    let row = execution(stack, TRIGGER);
    assert!(outcome.is_success(), "{outcome:?} with {row:#}");
    assert_eq!((&row["status"], &row["output"]), (&json!("completed"), &json!("done")), "{row:#}");
    assert!(stack.cognito.token_requests().is_empty());
    stack.assert_clean();
    (stack.agent.requests(), row)
}

/// Runs an agent that needs one request, and returns it and the record.
async fn one(protocol: &str, members: Value, detail: Value) -> (AgentRequest, Value) {
    let stack = stack().await;
    stack.agent.default(answer(protocol));
    let mut definition = json!({"protocol": protocol});
    for (name, value) in members.as_object().unwrap() {
        definition[name] = value.clone();
    }
    let (mut requests, row) = run(&stack, "", &definition, &detail).await;
    assert_eq!(requests.len(), 1, "{requests:#?}");
    (requests.remove(0), row)
}

fn assert_headers(request: &AgentRequest, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        assert_eq!(request.header(name), *value, "{name}");
    }
}

#[tokio::test]
async fn invocations_are_sent_as_ever() {
    let (request, row) = one("invocations", json!({}), json!({"input": {"order": 7}, "modelId": "m"})).await;
    let expected = json!({"prompt": PROMPT, "targetUserId": "user-1", "agentId": "agent-1", "sessionId": SESSION,
        "modelId": "m", "order": 7});
    assert_eq!(request.body, expected);
    assert_eq!((request.path.as_str(), &row["protocol"]), ("/invocations", &json!("generic")));
    let session = "x-amzn-bedrock-agentcore-runtime-session-id";
    assert_headers(&request, &[(session, Some(SESSION)), ("authorization", None)]);
}

#[tokio::test]
async fn ag_ui_is_sent_a_run() {
    let (request, row) = one("ag-ui", json!({}), json!({"input": {"order": 7}})).await;
    let id = &request.body["messages"][0]["id"];
    let expected = json!({"threadId": SESSION, "runId": row["executionId"], "state": {}, "tools": [], "context": [],
        "messages": [{"id": id, "role": "user", "content": PROMPT}],
        "forwardedProps": {"order": 7, "targetUserId": "user-1", "agentId": "agent-1"}});
    assert_eq!(request.body, expected);
    assert!(id.is_string());
    assert_eq!((request.path.as_str(), &row["protocol"]), ("/", &json!("ag-ui")));
    assert_headers(&request, &[("x-amzn-bedrock-agentcore-runtime-session-id", None)]);
}

#[tokio::test]
async fn a2a_is_sent_a_message_in_the_names_of_its_version() {
    let metadata = json!({"order": 7, "targetUserId": "user-1", "agentId": "agent-1"});
    for (protocol, method, header) in
        [("a2a", "message/stream", None), ("a2a-1.0", "SendStreamingMessage", Some("1.0"))]
    {
        let (request, row) = one(protocol, json!({}), json!({"input": {"order": 7}})).await;
        let id = request.body["params"]["message"]["messageId"].clone();
        assert!(id.is_string());
        let message = match header {
            None => json!({"kind": "message", "messageId": id, "contextId": SESSION, "role": "user",
                "parts": [{"kind": "text", "text": PROMPT}]}),
            Some(_) => json!({"messageId": id, "contextId": SESSION, "role": "ROLE_USER", "parts": [{"text": PROMPT}]}),
        };
        let expected = json!({"jsonrpc": "2.0", "id": row["executionId"], "method": method,
            "params": {"message": message, "metadata": metadata}});
        assert_eq!(request.body, expected);
        assert_eq!((request.path.as_str(), &row["protocol"]), ("/", &json!("a2a")));
        assert_headers(&request, &[("a2a-version", header)]);
    }
}

#[tokio::test]
async fn an_mcp_tool_is_called_with_the_prompt() {
    let tool = json!({"tool": {"name": "run", "argument": "task"}});
    let (request, row) = one("mcp", tool, json!({"input": {"order": 7}})).await;
    let expected = json!({"jsonrpc": "2.0", "id": row["executionId"], "method": "tools/call",
        "params": {"name": "run", "arguments": {"task": PROMPT, "order": 7}}});
    assert_eq!(request.body, expected);
    assert_eq!((request.path.as_str(), &row["protocol"]), ("/mcp", &json!("mcp")));
    assert_headers(&request, &[("mcp-session-id", None)]);
}

#[tokio::test]
async fn an_mcp_server_that_wants_a_session_gets_one() {
    let stack = stack().await;
    let initialized = json!({"jsonrpc": "2.0", "id": "1", "result": {"protocolVersion": "2025-03-26"}});
    for script in [
        Script::status(400, r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Missing session ID"}}"#),
        document(&initialized).header("mcp-session-id", "session-7"),
        Script::status(202, ""),
        answer("mcp"),
    ] {
        stack.agent.queue(script);
    }
    let tool = json!({"protocol": "mcp", "tool": {"name": "run", "argument": "task"}});
    let (requests, _) = run(&stack, "/tools", &tool, &json!({})).await;
    let methods: Vec<_> = requests.iter().map(|request| request.field("method")).collect();
    assert_eq!(methods, ["tools/call", "initialize", "notifications/initialized", "tools/call"]);
    assert_eq!(requests[0].body, requests[3].body);
    assert_eq!(requests[1].body["params"]["protocolVersion"], "2025-06-18");
    assert!(requests.iter().all(|request| request.path == "/tools"));
    let session = |at: usize| [requests[at].header("mcp-session-id"), requests[at].header("mcp-protocol-version")];
    assert_eq!([session(0), session(1)], [[None, None], [None, None]]);
    assert_eq!([session(2), session(3)], [[Some("session-7"), Some("2025-03-26")]; 2]);
}

#[tokio::test]
async fn openai_is_sent_a_model_and_a_prompt() {
    for (protocol, path, field) in
        [("openai-responses", "/v1/responses", "input"), ("openai-chat", "/v1/chat/completions", "messages")]
    {
        let (request, row) = one(protocol, json!({"model": "gpt"}), json!({"input": {"order": 7}})).await;
        let mut expected = json!({"model": "gpt", "stream": true, "metadata": {"order": "7",
            "executionId": row["executionId"], "sessionId": SESSION, "triggerId": TRIGGER, "userId": "user-1",
            "agentId": "agent-1"}});
        expected[field] = json!([{"role": "user", "content": PROMPT}]);
        if protocol == "openai-chat" {
            expected["stream_options"] = json!({"include_usage": true});
        }
        assert_eq!(request.body, expected);
        assert_eq!((request.path.as_str(), &row["protocol"]), (path, &json!(protocol)));
    }
}

#[tokio::test]
async fn langgraph_is_sent_a_run_of_its_assistant() {
    let (request, row) = one("langgraph", json!({"name": "graph"}), json!({"input": {"order": 7}})).await;
    let (input, config) = (&request.body["input"], &request.body["config"]["configurable"]);
    assert_eq!((&request.body["assistant_id"], &input["order"]), (&json!("graph"), &json!(7)));
    assert_eq!((&input["messages"][0]["role"], &input["messages"][0]["content"]), (&json!("user"), &json!(PROMPT)));
    assert!(config["thread_id"].is_string());
    assert_eq!(request.body["metadata"]["executionId"], row["executionId"]);
    assert_eq!((request.path.as_str(), &row["protocol"]), ("/runs/stream", &json!("langgraph")));
}

#[tokio::test]
async fn adk_runs_in_a_session_that_is_made_first() {
    for status in [200, 400, 409] {
        let stack = stack().await;
        stack.agent.queue(Script::status(status, r#"{"detail":"Session already exists"}"#));
        stack.agent.queue(answer("adk"));
        let (requests, _) = run(&stack, "/api/run_sse", &json!({"protocol": "adk", "name": "app"}), &json!({})).await;
        let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths, [&format!("/api/apps/app/users/user-1/sessions/{SESSION}"), "/api/run_sse"]);
        let expected = json!({"appName": "app", "userId": "user-1", "sessionId": SESSION, "streaming": true,
            "newMessage": {"role": "user", "parts": [{"text": PROMPT}]}});
        assert_eq!(requests[1].body, expected);
    }
}

#[tokio::test]
async fn an_adk_server_that_makes_no_session_was_not_called() {
    let stack = stack().await;
    stack.agent.serve_any_path();
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::status(500, "no"));
    let agents = json!({"agent-1": {"url": stack.agent.url(), "auth": "none", "protocol": "adk"}}).to_string();
    let function = stack.function(&[("AGENTS", &agents)]).await;
    let outcome = function.invoke(fire_with(&json!({}))).await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AgentUnavailable", &json!(true)));
    assert!(stack.agent.requests().iter().all(|request| request.path.contains("/sessions/")));
}

#[tokio::test]
async fn a_custom_agent_is_sent_its_template() {
    let template = json!({"query": {"text": "Task: {{prompt}}", "ids": ["{{executionId}}", "{{userId}}/{{agentId}}"]},
        "session": "{{sessionId}}", "model": "{{modelId}}", "fixed": [1, null]});
    let members = json!({"template": template, "headers": {"X-Tenant": "t-1"}});
    let (request, row) = one("custom", members, json!({"input": {"order": 7}})).await;
    let expected = json!({"query": {"text": format!("Task: {PROMPT}"), "ids": [row["executionId"], "user-1/agent-1"]},
        "session": SESSION, "fixed": [1, null], "order": 7});
    assert_eq!(request.body, expected);
    assert_headers(&request, &[("x-tenant", Some("t-1"))]);
}

#[tokio::test]
async fn a_retry_sends_the_same_bytes() {
    let stack = stack().await;
    stack.agent.queue(Script::status(503, "no").header("retry-after", "0"));
    stack.agent.queue(answer("a2a"));
    let (requests, _) = run(&stack, "/a2a", &json!({"protocol": "a2a"}), &json!({})).await;
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
}

#[tokio::test]
async fn an_answer_with_202_is_still_at_work() {
    let stack = stack().await;
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::status(202, r#"{"response":"later"}"#));
    let function = stack.function(&[("AGENT_AUTH", "none")]).await;
    let outcome = function.invoke(fire_with(&json!({}))).await;
    let row = execution(&stack, TRIGGER);
    assert_eq!(outcome.error_type(), "AgentIncomplete", "{row:#}");
    assert_eq!(row["finishReason"], "working", "{row:#}");
}
