//! Ready-made scripts of agents that speak a protocol of their own: one that completes, one that fails in mid-stream, and
//! one that stops short.

use serde_json::{Value, json};

use crate::script::{Framing, Script, Step};
use crate::scripts::{deltas, frame, named_frame};

/// The answers of one agent.
#[derive(Clone, Debug)]
pub struct ProtocolScripts {
    /// Completes, with the answer.
    pub happy: Script,
    /// Fails in mid-stream, with the message.
    pub failing: Script,
    /// Stops short in the middle of the answer.
    pub short: Script,
}

impl ProtocolScripts {
    /// The names of the protocols that have scripts, as settings spell them.
    pub const NAMES: [&str; 6] = ["invocations", "ag-ui", "a2a", "a2a-1.0", "mcp", "openai-responses"];

    /// Returns the scripts of a protocol, or `None` if it has none.
    pub fn of(protocol: &str, answer: &str, failure: &str) -> Option<Self> {
        let half = deltas(answer);
        let half = half[..half.len() / 2].concat();
        Some(match protocol {
            "invocations" => Self {
                happy: Script::ndjson_happy(answer),
                failing: Script::server_error_event(failure),
                short: Script::ndjson_interrupted(&half),
            },
            "ag-ui" => ag_ui(answer, &half, failure),
            "a2a" => a2a_0_3(answer, &half, failure),
            "a2a-1.0" => a2a_1_0(answer, &half, failure),
            "mcp" => mcp(answer, failure),
            "openai-responses" => openai_responses(answer, &half, failure),
            _ => return None,
        })
    }
}

fn stream(notes: &str, frames: impl IntoIterator<Item = Step>) -> Script {
    Script::ok("text/event-stream", [Step::Note(notes.to_owned())]).steps(frames)
}

/// AG-UI. A run ends with RUN_FINISHED, whose `outcome` may be an interrupt, or with RUN_ERROR.
fn ag_ui(answer: &str, half: &str, failure: &str) -> ProtocolScripts {
    let ids = |kind: &str| json!({"type": kind, "threadId": "{{sessionId}}", "runId": "{{requestId}}"});
    let run =
        |text: &str| {
            let mut frames = vec![
                frame(&ids("RUN_STARTED")),
                frame(&json!({"type": "TEXT_MESSAGE_START", "messageId": "message-1", "role": "assistant"})),
            ];
            frames.extend(deltas(text).iter().map(|piece| {
                frame(&json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "message-1", "delta": piece}))
            }));
            frames
        };
    let message_end = || frame(&json!({"type": "TEXT_MESSAGE_END", "messageId": "message-1"}));
    let finished = |name: &str, value: Value| {
        let mut event = ids("RUN_FINISHED");
        event[name] = value;
        frame(&event)
    };
    let usage = json!([{"model": "standin", "inputTokens": 1930, "outputTokens": 212}]);
    let interrupts = json!([{"id": "interrupt-1", "reason": "approval", "message": "may I delete the files?"}]);
    let outcome = json!({"type": "interrupt", "interrupts": interrupts});
    ProtocolScripts {
        happy: stream("answering", run(answer)).steps([message_end(), finished("usage", usage)]).answering(answer),
        failing: stream("failing", run(half)).then(frame(&json!({"type": "RUN_ERROR", "message": failure}))),
        short: stream("asking", run(half)).steps([message_end(), finished("outcome", outcome)]),
    }
}

/// A2A 0.3. The answer is an artifact, and a status-update says how the task ended.
fn a2a_0_3(answer: &str, half: &str, failure: &str) -> ProtocolScripts {
    let result = |result: Value| frame(&json!({"jsonrpc": "2.0", "id": "{{requestId}}", "result": result}));
    let ids = |kind: &str| json!({"kind": kind, "taskId": "task-1", "contextId": "{{sessionId}}"});
    let status = |state: &str, text: Option<&str>| {
        let mut update = ids("status-update");
        update["status"] = json!({"state": state});
        if let Some(text) = text {
            let parts = json!([{"kind": "text", "text": text}]);
            update["status"]["message"] =
                json!({"kind": "message", "messageId": "message-1", "role": "agent", "parts": parts});
        }
        update["final"] = json!(state != "working");
        result(update)
    };
    let run = |text: &str| {
        let task = json!({"kind": "task", "id": "task-1", "contextId": "{{sessionId}}",
            "status": {"state": "submitted"}});
        let mut frames = vec![result(task), status("working", None)];
        frames.extend(deltas(text).iter().enumerate().map(|(at, piece)| {
            let mut update = ids("artifact-update");
            update["artifact"] = json!({"artifactId": "answer", "parts": [{"kind": "text", "text": piece}]});
            update["append"] = json!(at > 0);
            result(update)
        }));
        frames
    };
    ProtocolScripts {
        happy: stream("answering", run(answer)).then(status("completed", None)).answering(answer),
        failing: stream("failing", run(half)).then(status("failed", Some(failure))),
        short: stream("asking", run(half)).then(status("input-required", Some("may I delete the files?"))),
    }
}

/// A2A 1.0. The member of `result` says what an event is, and states are spelled in capitals.
fn a2a_1_0(answer: &str, half: &str, failure: &str) -> ProtocolScripts {
    let result =
        |name: &str, event: Value| frame(&json!({"jsonrpc": "2.0", "id": "{{requestId}}", "result": {name: event}}));
    let status = |state: &str, text: Option<&str>| {
        let mut update = json!({"taskId": "task-1", "contextId": "{{sessionId}}", "status": {"state": state}});
        if let Some(text) = text {
            update["status"]["message"] =
                json!({"messageId": "message-1", "role": "ROLE_AGENT", "parts": [{"text": text}]});
        }
        result("statusUpdate", update)
    };
    let run = |text: &str| {
        let task = json!({"id": "task-1", "contextId": "{{sessionId}}", "status": {"state": "TASK_STATE_SUBMITTED"}});
        let mut frames = vec![result("task", task), status("TASK_STATE_WORKING", None)];
        frames.extend(deltas(text).iter().enumerate().map(|(at, piece)| {
            let artifact = json!({"artifactId": "answer", "parts": [{"text": piece}]});
            let update =
                json!({"taskId": "task-1", "contextId": "{{sessionId}}", "artifact": artifact, "append": at > 0});
            result("artifactUpdate", update)
        }));
        frames
    };
    let question = Some("may I delete the files?");
    ProtocolScripts {
        happy: stream("answering", run(answer)).then(status("TASK_STATE_COMPLETED", None)).answering(answer),
        failing: stream("failing", run(half)).then(status("TASK_STATE_FAILED", Some(failure))),
        short: stream("asking", run(half)).then(status("TASK_STATE_INPUT_REQUIRED", question)),
    }
}

/// MCP's streamable HTTP: notifications of progress, then the tool's result. MCP has no way to stop short, so that script
/// answers 202, as a server does that works on in the background.
fn mcp(answer: &str, failure: &str) -> ProtocolScripts {
    let message = |event: Value| named_frame("message", &event);
    let run = |text: &str, is_error: bool| {
        let progress = |progress: u64| {
            message(json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": 1, "progress": progress, "total": 2}}))
        };
        let content = json!([{"type": "text", "text": text}]);
        let result = json!({"content": content, "isError": is_error});
        [progress(1), progress(2), message(json!({"jsonrpc": "2.0", "id": 1, "result": result}))]
    };
    ProtocolScripts {
        happy: stream("answering", run(answer, false)).answering(answer),
        failing: stream("failing", run(failure, true)),
        short: Script::new(202).framing(Framing::ContentLength),
    }
}

/// OpenAI's Responses API. The last event carries the whole response.
fn openai_responses(answer: &str, half: &str, failure: &str) -> ProtocolScripts {
    let event = |kind: &str, name: &str, value: Value| named_frame(kind, &json!({"type": kind, name: value}));
    let response = |status: &str, name: &str, value: Value| {
        let mut response = json!({"id": "resp_1", "object": "response", "status": status, "error": null,
            "incomplete_details": null, "output": [], "usage": null});
        response[name] = value;
        response
    };
    let run = |text: &str| {
        let started = response("in_progress", "output", json!([]));
        let mut frames = vec![event("response.created", "response", started)];
        let delta = "response.output_text.delta";
        frames.extend(deltas(text).iter().map(|piece| event(delta, "delta", json!(piece))));
        frames
    };
    let content = json!([{"type": "output_text", "text": answer, "annotations": []}]);
    let output = json!([{"type": "message", "role": "assistant", "status": "completed", "content": content}]);
    let mut completed = response("completed", "output", output);
    completed["usage"] = json!({"input_tokens": 1930, "output_tokens": 212, "total_tokens": 2142,
        "input_tokens_details": {"cached_tokens": 1024}});
    let failed = response("failed", "error", json!({"code": "server_error", "message": failure}));
    let incomplete = response("incomplete", "incomplete_details", json!({"reason": "max_output_tokens"}));
    ProtocolScripts {
        happy: stream("answering", run(answer))
            .then(event("response.completed", "response", completed))
            .answering(answer),
        failing: stream("failing", run(half)).then(event("response.failed", "response", failed)),
        short: stream("answering", run(half)).then(event("response.incomplete", "response", incomplete)),
    }
}
