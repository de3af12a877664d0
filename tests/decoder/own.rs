//! Answers of agents that nobody wrote for this function: each says in words of its own how the run ended.

use agent_trigger::domain::answer::{AnswerError, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;
use agent_trigger::domain::protocol::Protocol;

use crate::{JSON, NDJSON, SSE, whole};

fn failed(words: &str) -> Verdict {
    let message = Some(words.to_owned()).filter(|words| !words.is_empty());
    Verdict::Failed(AnswerError::Reported { message })
}

fn text(outcome: &Outcome) -> &str {
    outcome.output.as_ref().map(|output| output.text.as_str()).unwrap_or_default()
}

/// A stream of these frames after two pieces of an answer.
fn events(behind: &str) -> String {
    format!("data: {{\"delta\":\"Good \"}}\n\ndata: {{\"delta\":\"morning.\"}}\n\n{behind}")
}

fn lines(behind: &str) -> String {
    format!("{{\"type\":\"token\",\"text\":\"Good \"}}\n{{\"type\":\"token\",\"text\":\"morning.\"}}\n{behind}\n")
}

#[test]
fn a_reply_is_an_answer() {
    let outcome = whole(JSON, r#"{"reply":"Good morning.","usage":{"prompt_tokens":5,"completion_tokens":3}}"#);
    assert_eq!((outcome.verdict.clone(), outcome.protocol), (Verdict::Completed, Protocol::Generic));
    assert_eq!(text(&outcome), "Good morning.");
    assert_eq!(whole(JSON, r#"{"reply":{"error":"boom"}}"#).verdict, failed("boom"));
    // As a `response` does, it says the whole answer again.
    let outcome = whole(NDJSON, lines(r#"{"type":"end","reply":"Good morning, all."}"#));
    assert_eq!((outcome.verdict.clone(), text(&outcome)), (Verdict::Completed, "Good morning, all."));
}

/// Many agents write the mark of OpenAI's streams by the function that writes their text.
#[test]
fn a_mark_of_the_end_is_no_answer() {
    for mark in ["data: [DONE]", "data: [done]", "data: [END]", "data: \"[DONE]\"", "data: \"[done]\"", "data: [Done] "]
    {
        let outcome = whole(SSE, events(&format!("{mark}\n\n")));
        assert_eq!((outcome.verdict.clone(), text(&outcome)), (Verdict::Completed, "Good morning."), "{mark}");
    }
    for member in ["delta", "text", "content", "data", "message"] {
        let mark = format!("{{\"{member}\":\"[DONE]\"}}");
        let outcome = whole(SSE, events(&format!("data: {mark}\n\n")));
        assert_eq!((outcome.verdict.clone(), text(&outcome)), (Verdict::Completed, "Good morning."), "{mark}");
        let outcome = whole(NDJSON, lines(&mark));
        assert_eq!((outcome.verdict.clone(), text(&outcome)), (Verdict::Completed, "Good morning."), "{mark}");
    }
    assert_eq!(text(&whole(JSON, "\"[DONE]\"")), "[DONE]");
    assert_eq!(text(&whole(JSON, r#"{"text":"[DONE]"}"#)), "[DONE]");
}

#[test]
fn a_mark_of_the_end_takes_no_failure_back() {
    for mark in ["[DONE]", "[done]", "[END]", "\"[DONE]\"", "\"[END]\"", "{\"delta\":\"[DONE]\"}", "DONE", "\"DONE\""] {
        let body = events(&format!("data: {{\"error\":\"boom\"}}\n\ndata: {mark}\n\n"));
        assert_eq!(whole(SSE, body).verdict, failed("boom"), "{mark}");
    }
    for mark in [
        r#""[DONE]""#,
        r#"{"text":"[DONE]"}"#,
        r#"{"type":"close","data":"bye"}"#,
        r#"{"type":"closed","text":"closed"}"#,
        r#"{"type":"bye","text":"bye"}"#,
    ] {
        assert_eq!(whole(NDJSON, lines(&format!("{{\"error\":\"boom\"}}\n{mark}"))).verdict, failed("boom"), "{mark}");
    }
    // An answer of these words is one.
    assert_eq!(whole(NDJSON, "{\"error\":\"boom\"}\n{\"text\":\"Done.\"}\n").verdict, Verdict::Completed);
}

#[test]
fn a_mark_of_an_error_is_a_failure() {
    for (data, words) in [
        ("[ERROR] boom", "boom"),
        ("[error]: boom", "boom"),
        ("\"[ERROR] boom\"", "boom"),
        ("[ERROR]", ""),
        ("[ERROR]boom", "boom"),
    ] {
        let body = events(&format!("data: {data}\n\ndata: [DONE]\n\n"));
        assert_eq!(whole(SSE, body).verdict, failed(words), "{data}");
    }
    assert_eq!(whole(NDJSON, lines("\"[ERROR] boom\"")).verdict, failed("boom"));
    let outcome = whole(SSE, "data: [ERROR] no first bucket\n\ndata: Three files.\n\n");
    assert_eq!((outcome.verdict.clone(), text(&outcome)), (Verdict::Completed, "Three files."));
    for data in ["[ERRORS] 3", "[\"ERROR\"]", "no [ERROR]", "ERROR"] {
        assert_eq!(whole(SSE, format!("data: {data}\n\n")).verdict, Verdict::Completed, "{data}");
    }
}

#[test]
fn other_words_for_a_failure_are_heard() {
    for (document, words) in [
        (r#"{"errorMsg":"boom"}"#, "boom"),
        (r#"{"error_msg":"boom"}"#, "boom"),
        (r#"{"errMsg":"boom","errCode":4}"#, "boom"),
        (r#"{"errmsg":"boom","errcode":4}"#, "boom"),
        (r#"{"hasError":true,"message":"boom"}"#, "boom"),
        (r#"{"has_error":true,"message":"boom"}"#, "boom"),
        (r#"{"isSuccess":false,"message":"boom"}"#, "boom"),
        (r#"{"succeeded":false,"message":"boom"}"#, "boom"),
        (r#"{"success":0,"message":"boom"}"#, "boom"),
        (r#"{"ok":0,"message":"boom"}"#, "boom"),
        (r#"{"httpStatus":500,"message":"boom"}"#, "boom"),
        (r#"{"state":"error","message":"boom"}"#, "boom"),
        (r#"{"state":"FAILED","reply":"boom"}"#, ""),
        (r#"{"status":"ok","state":"failed","message":"boom"}"#, "boom"),
        (r#"{"name":"TypeError","message":"boom","stack":"TypeError: boom\n    at f (a.js:1:2)"}"#, "boom"),
        (r#"{"code":"ERR_BAD_REQUEST","message":"boom"}"#, "boom"),
        (r#"{"code":"ValidationError","message":"boom"}"#, "boom"),
        (r#"{"delta":{"error":"boom"}}"#, "boom"),
        (r#"{"chunk":{"error":"boom"}}"#, "boom"),
        (r#"{"text":{"error":"boom"}}"#, "boom"),
        (r#"{"token":{"type":"error","message":"boom"}}"#, "boom"),
    ] {
        assert_eq!(whole(JSON, document).verdict, failed(words), "{document}");
        assert_eq!(whole(NDJSON, lines(document)).verdict, failed(words), "{document} as a line");
        let event = format!("data: {document}\n\ndata: [DONE]\n\n");
        assert_eq!(whole(SSE, events(&event)).verdict, failed(words), "{document} as an event");
    }
    for line in [r#"{"type":"err","text":"boom"}"#, r#"{"kind":"err","message":"boom"}"#] {
        assert_eq!(whole(NDJSON, lines(line)).verdict, failed("boom"), "{line}");
    }
    for document in [
        r#"{"errcode":0,"errmsg":"ok","reply":"a"}"#,
        r#"{"errmsg":"success","reply":"a"}"#,
        r#"{"errorMsg":null,"reply":"a"}"#,
        r#"{"errorMessage":"OK","reply":"a"}"#,
        r#"{"hasError":false,"reply":"a"}"#,
        r#"{"isSuccess":true,"reply":"a"}"#,
        r#"{"success":0,"failure":0,"total":0}"#,
        r#"{"ok":0,"text":"none of them"}"#,
        r#"{"httpStatus":200,"reply":"a"}"#,
        r#"{"state":"done","reply":"a"}"#,
        r#"{"state":{"error":"a"},"reply":"a"}"#,
        r#"{"state":"Florida","reply":"a"}"#,
        r#"{"message":"deployed","stack":"production"}"#,
        r#"{"code":"print('ValidationError')","message":"try this"}"#,
        r#"{"code":"ERR_X","message":"is","answer":"an error of Node's"}"#,
    ] {
        assert_eq!(whole(JSON, document).verdict, Verdict::Completed, "{document}");
        assert_eq!(whole(NDJSON, lines(document)).verdict, Verdict::Completed, "{document} as a line");
    }
}

/// Unlike a `status` beside a `message`, it may say of which kind a piece is.
#[test]
fn a_state_beside_a_message_leaves_it_an_answer() {
    let body = "{\"message\":\"Good \",\"state\":\"delta\"}\n{\"message\":\"morning.\",\"state\":{\"step\":2}}\n";
    let outcome = whole(NDJSON, body);
    assert_eq!((outcome.verdict.clone(), text(&outcome)), (Verdict::Completed, "Good morning."));
}

#[test]
fn other_words_for_waiting_are_heard() {
    let interrupt = Verdict::Incomplete(FinishReason::Interrupt);
    for document in [
        r#"{"reply":"May I?","approvalRequired":true}"#,
        r#"{"reply":"May I?","approval_required":true}"#,
        r#"{"reply":"May I?","awaitingApproval":true}"#,
        r#"{"reply":"May I?","pending_approval":{"tool":"rm"}}"#,
        r#"{"reply":"May I?","status":"awaiting_confirmation"}"#,
        r#"{"reply":"May I?","status":"needs_confirmation"}"#,
        r#"{"reply":"May I?","state":"awaiting_approval"}"#,
        r#"{"reply":"May I?","interrupted":true}"#,
    ] {
        assert_eq!(whole(JSON, document).verdict, interrupt, "{document}");
        assert_eq!(whole(NDJSON, lines(document)).verdict, interrupt, "{document} as a line");
    }
    for kind in [
        "approval_needed",
        "request_approval",
        "approvalRequest",
        "ApprovalRequestEvent",
        "approval.requested",
        "confirmation_required",
        "tool_approval_request",
        "tool-approval-required",
        "toolApprovalRequest",
        "tool_approval",
    ] {
        assert_eq!(whole(NDJSON, lines(&format!("{{\"type\":\"{kind}\",\"id\":1}}"))).verdict, interrupt, "{kind}");
        let event = format!("event: {kind}\ndata: {{\"id\":1}}\n\ndata: [DONE]\n\n");
        assert_eq!(whole(SSE, events(&event)).verdict, interrupt, "the event {kind}");
    }
    for line in [
        r#"{"type":"approval_required","tool":"rm"}"#,
        r#"{"type":"interrupt","toolName":"rm"}"#,
        r#"{"tool":"rm","requires_approval":true}"#,
        r#"{"type":"tool_call","name":"rm","needsApproval":true}"#,
    ] {
        assert_eq!(whole(NDJSON, lines(line)).verdict, interrupt, "{line}");
    }
    // Somebody approved, and the agent went on and said that it ended.
    let asked = "{\"type\":\"tool_approval_request\",\"id\":1}\n";
    let on = lines(&format!("{asked}{{\"text\":\"Deleted.\"}}\n{{\"stop_reason\":\"end_turn\"}}"));
    assert_eq!(whole(NDJSON, on).verdict, Verdict::Completed);
    for kind in ["approval_granted", "approved", "tool_approval_response", "approval_response", "tool_call", "confirm"]
    {
        let outcome = whole(NDJSON, lines(&format!("{{\"type\":\"{kind}\",\"id\":1}}")));
        assert_eq!(outcome.verdict, Verdict::Completed, "{kind}");
    }
    let input = Verdict::Incomplete(FinishReason::InputRequired);
    for kind in ["human_input_required", "user_input_required", "waiting_for_user", "awaiting_user_input"] {
        assert_eq!(whole(NDJSON, lines(&format!("{{\"type\":\"{kind}\",\"id\":1}}"))).verdict, input, "{kind}");
        assert_eq!(whole(JSON, format!("{{\"reply\":\"a\",\"status\":\"{kind}\"}}")).verdict, input, "{kind}");
    }
}

#[test]
fn other_words_for_stopping_short_are_heard() {
    use FinishReason::{Cancelled, Interrupt, Limit, MaxTokens};
    for (document, reason) in [
        (r#"{"type":"done","reason":"max_tokens"}"#, MaxTokens),
        (r#"{"type":"end","reason":"length"}"#, MaxTokens),
        (r#"{"type":"finish","reason":"timeout"}"#, Limit),
        (r#"{"reply":"Good m","cancelled":true}"#, Cancelled),
        (r#"{"reply":"Good m","aborted":true}"#, Cancelled),
        (r#"{"data":{"text":"Good m","stop_reason":"max_tokens"}}"#, MaxTokens),
        (r#"{"answer":{"text":"Good m","finishReason":"length"}}"#, MaxTokens),
        (r#"{"output":{"text":"Good m","stopReason":"max_tokens"}}"#, MaxTokens),
        (r#"{"delta":{"text":"Good m","stop_reason":"max_tokens"}}"#, MaxTokens),
        (r#"{"reply":{"text":"Good m","stop_reason":"max_tokens"}}"#, MaxTokens),
        (r#"{"result":{"text":"May I?","status":"needs_approval"}}"#, Interrupt),
        (r#"{"data":{"text":"May I?","status":"awaiting_approval"}}"#, Interrupt),
        (r#"{"data":{"text":"May I?","requires_approval":true}}"#, Interrupt),
        (r#"{"result":{"type":"interrupt","value":"May I?"}}"#, Interrupt),
    ] {
        assert_eq!(whole(JSON, document).verdict, Verdict::Incomplete(reason), "{document}");
        assert_eq!(whole(NDJSON, lines(document)).verdict, Verdict::Incomplete(reason), "{document} as a line");
    }
    assert_eq!(whole(NDJSON, lines(r#"{"type":"done","reason":"error"}"#)).verdict, failed("error"));
    for document in [
        r#"{"type":"done","reason":"stop"}"#,
        r#"{"type":"step","reason":"length"}"#,
        r#"{"type":"done","reason":{"length":3}}"#,
        r#"{"reply":"a","cancelled":false}"#,
        r#"{"reply":"a","cancelled":3}"#,
        r#"{"reply":"a","interrupted":false}"#,
    ] {
        assert_eq!(whole(NDJSON, lines(document)).verdict, Verdict::Completed, "{document}");
    }
}

/// What says nothing of the end must not hide what does, and prose is no word.
#[test]
fn the_reason_of_an_end_is_heard_only_if_it_says_how() {
    for (end, expected) in [
        (r#"{"type":"done","status":"cancelled","reason":"user closed the tab"}"#, FinishReason::Cancelled),
        (
            r#"{"type":"end","reason":"eof","result":{"text":"Good m","stop_reason":"max_tokens"}}"#,
            FinishReason::MaxTokens,
        ),
        (r#"{"type":"done","reason":"max_tokens"}"#, FinishReason::MaxTokens),
    ] {
        assert_eq!(whole(NDJSON, lines(end)).verdict, Verdict::Incomplete(expected), "{end}");
    }
    let body = lines(r#"{"event":"done","reason":"max_tokens"}"#);
    assert_eq!(whole(NDJSON, body).verdict, Verdict::Incomplete(FinishReason::MaxTokens));
    let body = events("event: done\ndata: {\"reason\":\"max_tokens\"}\n\n");
    assert_eq!(whole(SSE, body).verdict, Verdict::Incomplete(FinishReason::MaxTokens));
    let body = lines("{\"stop_reason\":\"max_tokens\"}\n{\"type\":\"done\",\"reason\":\"stream closed\"}");
    assert_eq!(whole(NDJSON, body).verdict, Verdict::Incomplete(FinishReason::MaxTokens));
    for end in ["finished without error", "Maximum similarity reached", "stop", "eof"] {
        let end = format!("{{\"type\":\"done\",\"reason\":\"{end}\"}}");
        assert_eq!(whole(NDJSON, lines(&end)).verdict, Verdict::Completed, "{end}");
    }
}

#[test]
fn a_mark_of_an_error_is_a_failure_under_a_member_and_behind_a_full_answer() {
    for end in [r#"{"delta":"[ERROR] boom"}"#, "{\"error\":\"boom\"}\n\ndata: {\"text\":\"[ERROR] boom\"}"] {
        assert_eq!(whole(SSE, events(&format!("data: {end}\n\n"))).verdict, failed("boom"), "{end}");
    }
    let long = "word ".repeat(4_000);
    for (piece, end) in [
        (format!("\"{long}\""), "\"[ERROR] boom\""),
        (format!("{{\"delta\":\"{long}\"}}"), "{\"delta\":\"[ERROR] boom\"}"),
    ] {
        let body = format!("data: {piece}\n\ndata: {piece}\n\ndata: {end}\n\n");
        assert_eq!(whole(SSE, body).verdict, failed("boom"), "{end}");
    }
    // A log that is quoted.
    let body = events("data: [ERROR] disk full\ndata: [INFO] restarted\n\n");
    assert_eq!(whole(SSE, body).verdict, Verdict::Completed);
}

#[test]
fn an_envelope_without_an_answer_tells_its_code() {
    for body in [
        r#"{"code":500,"message":"boom","data":null}"#,
        r#"{"code":"ERR_X","message":"boom","data":""}"#,
        r#"{"success":0,"message":"boom"}"#,
        r#"{"success":0,"message":"boom","errors":[],"error":null}"#,
        r#"{"code":"-1","message":"boom"}"#,
        r#"{"code":"-1","msg":"boom"}"#,
        r#"{"result":"failed","msg":"boom"}"#,
        r#"{"err_msg":"boom"}"#,
        r#"{"error":{"code":null,"message":"boom"}}"#,
        r#"{"errorCode":"40013","errorMessage":"boom"}"#,
    ] {
        assert_eq!(whole(JSON, body).verdict, failed("boom"), "{body}");
    }
    for body in [
        r#"{"reply":"The codes mean…","message":"ok","code":"ERR_X"}"#,
        r#"{"response":"Done.","message":"ok","success":0}"#,
        r#"{"message":"Nothing to do today.","succeeded":0,"failed":0}"#,
        r#"{"success":true,"message":"Nothing to do today.","succeeded":0,"failed":0}"#,
        r#"{"message":"Nothing to do today.","success":0,"errors":0}"#,
        r#"{"message":"Nothing to do today.","success":0,"error":0}"#,
        r#"{"answer":"Done.","errmsg":"no error"}"#,
        r#"{"answer":"Done.","errorCode":"00000","errorMessage":"成功"}"#,
        r#"{"answer":"Done.","errorCode":"000","errorMessage":"Success."}"#,
        r#"{"answer":"Done.","errorCode":"N/A","errorMessage":"No errors"}"#,
        r#"{"answer":"Done.","error":"N/A","errors":"0"}"#,
        r#"{"answer":"Done.","error":{"code":null,"message":null}}"#,
        r#"{"answer":"Done.","error":{"code":"0","message":"success"}}"#,
    ] {
        assert_eq!(whole(JSON, body).verdict, Verdict::Completed, "{body}");
    }
}

#[test]
fn the_objects_that_hold_an_answer_are_all_asked_whether_it_waits() {
    for (body, expected) in [
        (r#"{"message":{"content":"May I?","requires_approval":true}}"#, FinishReason::Interrupt),
        (r#"{"text":"May I?","interrupt":{"value":null}}"#, FinishReason::Interrupt),
        (r#"{"data":{"text":"a"},"data":{"text":"May I?","requires_approval":true}}"#, FinishReason::Interrupt),
        (r#"{"data":{"text":"Good m","done_reason":"length"}}"#, FinishReason::MaxTokens),
        (r#"{"data":{"status":"awaiting_approval","text":"May I?"}}"#, FinishReason::Interrupt),
    ] {
        assert_eq!(whole(JSON, body).verdict, Verdict::Incomplete(expected), "{body}");
    }
}

/// An object beside the text is what the answer is about.
#[test]
fn what_an_answer_is_about_says_nothing_of_the_run() {
    for body in [
        r#"{"answer":"The account is suspended.","data":{"id":"a1","status":"suspended"}}"#,
        r#"{"answer":"It was granted.","data":{"type":"approval","id":7}}"#,
        r#"{"answer":"Invoice 17 failed.","data":{"invoice":17,"state":"failed"}}"#,
        r#"{"answer":"It fails at f.","data":{"message":"x","stack":"TypeError: x\n    at f (a.js:1)"}}"#,
        r#"{"answer":"It fails at f.","stack":"TypeError: x\n    at f (a.js:1)"}"#,
        r#"{"answer":"3 expenses wait.","pending_approval":3}"#,
        r#"{"answer":"3 expenses wait.","pending_approval":"3"}"#,
        r#"{"answer":"No expense waits.","pending_approval":"0"}"#,
        r#"{"answer":"Done.","approvalRequired":"no"}"#,
        r#"{"answer":"Done.","requires_approval":"False"}"#,
        r#"{"answer":"The ticket is blocked.","state":"blocked"}"#,
        r#"{"answer":"Done.","window":1,"state":"maximized"}"#,
        r#"{"content":[{"type":"text","text":"It is suspended."}],"data":{"id":"a1","status":"suspended"}}"#,
        r#"{"content":[{"type":"text","text":"Invoice 17 failed."}],"data":{"invoice":17,"state":"failed"}}"#,
        r#"{"content":[{"type":"text","text":"Three of five probes fail."}],"status":"fail"}"#,
    ] {
        assert_eq!(whole(JSON, body).verdict, Verdict::Completed, "{body}");
    }
    for body in [r#"{"data":{"state":"failed","message":"boom"}}"#, r#"{"state":"failed","message":"boom"}"#] {
        assert_eq!(whole(JSON, body).verdict, failed("boom"), "{body}");
    }
}

/// A tool needs an approval, gets it, and works.
#[test]
fn a_tool_whose_result_came_waits_no_longer() {
    let asks = r#"{"type":"tool_call","name":"rm","requires_approval":true}"#;
    let result = r#"{"type":"tool_result","toolName":"rm","requires_approval":true,"result":"deleted"}"#;
    let text = r#"{"type":"text","text":"Deleted."}"#;
    assert_eq!(whole(NDJSON, lines(&format!("{asks}\n{result}\n{text}"))).verdict, Verdict::Completed);
    assert_eq!(whole(NDJSON, lines(&format!("{result}\n{text}"))).verdict, Verdict::Completed);
    let waits = Verdict::Incomplete(FinishReason::Interrupt);
    assert_eq!(whole(NDJSON, lines(asks)).verdict, waits);
    assert_eq!(whole(NDJSON, lines(&format!("{result}\n{asks}"))).verdict, waits);
    // The run itself asks: no result of a tool answers that.
    let run = r#"{"type":"approval_request","text":"May I?"}"#;
    assert_eq!(whole(NDJSON, lines(&format!("{asks}\n{run}\n{result}"))).verdict, waits);
    // The same by the names of events.
    let run = "event: approval_request\ndata: {\"text\":\"May I?\"}";
    let body = events(&format!("data: {asks}\n\n{run}\n\ndata: {result}\n\n"));
    assert_eq!(whole(SSE, body).verdict, waits);
    let tool = "event: tool_approval_request\ndata: {\"id\":1}";
    assert_eq!(whole(SSE, events(&format!("{tool}\n\n"))).verdict, waits);
    let body = events(&format!("{tool}\n\ndata: {result}\n\ndata: {text}\n\n"));
    assert_eq!(whole(SSE, body).verdict, Verdict::Completed);
    // Many tools print nothing.
    let empty = r#"{"type":"tool_result","toolName":"rm","output":""}"#;
    assert_eq!(whole(NDJSON, lines(&format!("{asks}\n{empty}\n{text}"))).verdict, Verdict::Completed);
    for begun in [r#""output":null"#, r#""output":"","requires_approval":true"#] {
        let begun = format!("{{\"type\":\"tool_call\",{begun}}}");
        assert_eq!(whole(NDJSON, lines(&format!("{asks}\n{begun}"))).verdict, waits, "{begun}");
    }
    // What a question says is no result.
    for question in [
        r#"{"type":"tool_approval_request","content":"May I?"}"#,
        r#"{"event":"tool_approval_request","output":"rm -r"}"#,
    ] {
        assert_eq!(whole(NDJSON, lines(question)).verdict, waits, "{question}");
        assert_eq!(whole(NDJSON, lines(&format!("{question}\n{question}"))).verdict, waits, "{question}");
        assert_eq!(whole(NDJSON, lines(&format!("{question}\n{result}"))).verdict, Verdict::Completed, "{question}");
    }
    let tool = "event: tool_approval_request\ndata: {\"content\":\"May I?\"}";
    assert_eq!(whole(SSE, events(&format!("{tool}\n\n{tool}\n\n"))).verdict, waits);
}

/// Web frameworks and API platforms answer 200, too, when they refuse.
#[test]
fn an_envelope_that_only_reports_is_a_failure() {
    for (body, words) in [
        (r#"{"detail":"Not found"}"#, "Not found"),
        (r#"{"detail":[{"loc":["body","prompt"],"msg":"field required","input":"a prompt"}]}"#, "field required"),
        (r#"{"failureReason":"boom"}"#, "boom"),
        (r#"{"status":"fail","message":"Missing prompt"}"#, "Missing prompt"),
        (r#"{"status":"fail","data":{"message":"Missing prompt"}}"#, "Missing prompt"),
        (r#"{"status":"fail","message":"Missing prompt","data":["prompt"]}"#, "Missing prompt"),
        (r#"{"code":40001,"msg":"invalid token"}"#, "invalid token"),
        (r#"{"code":-1,"msg":"boom","data":null}"#, "boom"),
        (r#"{"code":40001,"msg":"Login unsuccessful"}"#, "Login unsuccessful"),
        (r#"{"code":40001,"msg":"The operation was not successful"}"#, "The operation was not successful"),
        (r#"{"code":40001,"msg":"操作不成功"}"#, "操作不成功"),
        (r#"{"code":40001,"msg":"It cannot be completed"}"#, "It cannot be completed"),
        (r#"{"code":40001,"msg":"It could not be sent successfully"}"#, "It could not be sent successfully"),
        (r#"{"code":40001,"msg":"未完成"}"#, "未完成"),
        (r#"{"result":"failed","message":"boom"}"#, "boom"),
        (r#"{"title":"Bad Gateway","status":"502"}"#, "Bad Gateway"),
        (r#"{"ok":false,"description":"chat not found"}"#, "chat not found"),
        (r#"{"has_failed":true,"message":"boom"}"#, "boom"),
        (r#"{"code":-32603,"message":"boom"}"#, "boom"),
        (r#"{"status":"FAIL","message":"boom"}"#, "boom"),
    ] {
        assert_eq!(whole(JSON, body).verdict, failed(words), "{body}");
    }
    for body in [
        r#"{"detail":"Three rooms are free.","rooms":3}"#,
        r#"{"detail":null}"#,
        r#"{"status":"fail","answer":"Three of five probes fail."}"#,
        r#"{"state":"fail","message":"Three of five probes fail."}"#,
        r#"{"code":0,"msg":"success","data":{"answer":"Good morning."}}"#,
        r#"{"code":75001,"msg":"ok","data":null}"#,
        r#"{"code":75001,"msg":"Paris","answer":"Paris."}"#,
        r#"{"code":75001,"message":"Paris."}"#,
        r#"{"code":20000,"msg":"Operation successful","data":{}}"#,
        r#"{"code":1000,"msg":"操作成功","data":null}"#,
        r#"{"code":1000,"msg":"Completed"}"#,
        r#"{"code":1000,"msg":"处理完成"}"#,
        r#"{"code":1000,"msg":"Done","message":"The report is done."}"#,
        r#"{"code":20000,"msg":"","message":"The report is done."}"#,
        r#"{"code":20000,"msg":null,"message":"The report is done."}"#,
        r#"{"answer":"It is Paris.","data":{"code":75001,"msg":"Paris"}}"#,
        r#"{"answer":"It means not found.","data":{"code":404,"message":"Not Found"}}"#,
        r#"{"status":"FAIL","answer":"Three of five probes fail."}"#,
        r#"{"state":"Fail","message":"Three of five probes fail."}"#,
        r#"{"result":"fail","message":"2 of 9 checks","answer":"The report: …"}"#,
        r#"{"result":"failed"}"#,
        r#"{"result":"failed","msg":"Checked with success"}"#,
        r#"{"result":"The build failed","message":"ok"}"#,
        r#"{"failure":2,"done":8}"#,
    ] {
        assert_eq!(whole(JSON, body).verdict, Verdict::Completed, "{body}");
    }
    // A line of a stream tells the progress.
    assert_eq!(whole(NDJSON, lines(r#"{"detail":"tidying up"}"#)).verdict, Verdict::Completed);
    assert_eq!(whole(NDJSON, lines(r#"{"code":1001,"msg":"finished"}"#)).verdict, Verdict::Completed);
    assert_eq!(whole(NDJSON, lines(r#"{"status":"fail"}"#)).verdict, failed(""));
    assert_eq!(whole(NDJSON, lines(r#"{"code":500,"msg":"boom"}"#)).verdict, failed("boom"));
}

#[test]
fn an_answer_that_was_cut_short_says_so() {
    for end in [
        r#"{"type":"done","truncated":true}"#,
        r#"{"type":"done","timed_out":true}"#,
        r#"{"type":"done","stop_reason":"stop","truncated":true}"#,
    ] {
        assert_eq!(whole(NDJSON, lines(end)).verdict, Verdict::Incomplete(FinishReason::Limit), "{end}");
    }
    for (end, expected) in [
        ("event: end\ndata: {\"truncated\":true}\n\n", Verdict::Incomplete(FinishReason::Limit)),
        ("event: sources\ndata: {\"items\":[1],\"truncated\":true}\n\n", Verdict::Completed),
        ("event: end\ndata: {\"type\":\"sources\",\"truncated\":true}\n\n", Verdict::Completed),
    ] {
        assert_eq!(whole(SSE, events(end)).verdict, expected, "{end}");
    }
    let end = lines(r#"{"type":"done","stop_reason":"max_tokens","truncated":true}"#);
    assert_eq!(whole(NDJSON, end).verdict, Verdict::Incomplete(FinishReason::MaxTokens));
    let document = r#"{"answer":"Good m","truncated":true}"#;
    assert_eq!(whole(JSON, document).verdict, Verdict::Incomplete(FinishReason::Limit));
    for end in [
        r#"{"type":"done","truncated":false}"#,
        r#"{"type":"done","truncated":3}"#,
        "{\"type\":\"sources\",\"items\":[1],\"truncated\":true}\n{\"type\":\"done\"}",
        "{\"type\":\"timeout\",\"message\":\"trying B\"}\n{\"type\":\"done\"}",
    ] {
        assert_eq!(whole(NDJSON, lines(end)).verdict, Verdict::Completed, "{end}");
    }
    // Gateways send an empty reason behind the true one.
    for nothing in ["", "None", "null"] {
        let end = format!("{{\"stop_reason\":\"max_tokens\"}}\n{{\"finish_reason\":\"{nothing}\",\"usage\":{{}}}}");
        assert_eq!(whole(NDJSON, lines(&end)).verdict, Verdict::Incomplete(FinishReason::MaxTokens), "{end}");
    }
}

/// It stands beside what says how the agent stopped.
#[test]
fn an_empty_stop_reason_hides_nothing_of_its_frame() {
    let max_tokens = FinishReason::MaxTokens;
    for nothing in ["null", "\"\"", "\"None\""] {
        for (rest, expected) in [
            (r#""status":"cancelled""#, FinishReason::Cancelled),
            (r#""data":{"stop_reason":"max_tokens"}"#, max_tokens),
            (r#""type":"done","reason":"max_tokens""#, max_tokens),
        ] {
            let frame = format!("{{\"answer\":\"Good m\",\"stop_reason\":{nothing},{rest}}}");
            assert_eq!(whole(JSON, &frame).verdict, Verdict::Incomplete(expected), "{frame}");
            assert_eq!(whole(NDJSON, lines(&frame)).verdict, Verdict::Incomplete(expected), "{frame}");
        }
        let frame = format!("{{\"answer\":\"Done.\",\"stop_reason\":{nothing},\"status\":\"completed\"}}");
        assert_eq!(whole(JSON, &frame).verdict, Verdict::Completed, "{frame}");
    }
}
