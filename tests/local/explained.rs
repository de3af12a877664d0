//! Checks what the local run says of an answer.

use crate::recognised::{Answer, explain};

fn answer(content_type: &str, body: &str, is_whole: bool) -> Answer {
    Answer { status: 200, content_type: Some(content_type.to_owned()), body: body.as_bytes().to_vec(), is_whole }
}

fn line(lines: &[String], name: &str) -> String {
    let line = lines.iter().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}: {lines:#?}")).trim().to_owned()
}

#[test]
fn the_frame_that_decided_is_named() {
    let end = |body: &str, kind: &str| line(&explain(&answer(kind, body, true), None), "end");
    let ndjson = "application/x-ndjson";
    for (body, expected) in [
        ("{\"text\":\"a\"}\n", "completed: the answer ended in order"),
        ("{\"text\":\"a\"}\n{\"stop_reason\":\"max_tokens\"}\n", "stopped short: the frame stop_reason says so"),
        ("{\"text\":\"a\"}\n{\"error\":\"no\"}\n", "failed: the agent reported an error in the frame error: no"),
        ("{\"error\":\"no\"}\n{\"text\":\"a\"}\n", "completed: the answer ended in order"),
        ("{\"type\":\"serverCompletionEvent\"}\n", "completed: the frame serverCompletionEvent says so"),
        (
            "{\"type\":\"beforeInvocationEvent\"}\n",
            "interrupted: the answer ended without its terminal event; expected was serverCompletionEvent, \
             serverErrorEvent or agentResultEvent",
        ),
    ] {
        assert_eq!(end(body, ndjson), expected, "{body}");
    }
    for (body, expected) in [
        (
            "data: {\"text\":\"a\"}\n\nevent: approval_request\ndata: {\"message\":\"May I?\"}\n\n",
            "stopped short: the frame approval_request says so",
        ),
        (
            "event: error\ndata: {\"type\":\"x\",\"message\":\"no\"}\n\n",
            "failed: the agent reported an error in the frame error: no",
        ),
        (
            "data: {\"text\":\"a\"}\ndata: {\"text\":\"b\"}\n",
            "interrupted: the answer ended within an event: a blank line ends each event",
        ),
    ] {
        assert_eq!(end(body, "text/event-stream"), expected, "{body}");
    }
    let started = "data: {\"type\":\"RUN_STARTED\"}\n\n";
    assert!(end(started, "text/event-stream").ends_with("; expected was RUN_FINISHED or RUN_ERROR"));
}

#[test]
fn frames_are_listed_by_their_use() {
    let body = "data: {\"type\":\"RUN_STARTED\"}\n\n: keep-alive\n\ndata: {\"type\":\"TEXT_MESSAGE_CONTENT\",\
                \"messageId\":\"m\",\"delta\":\"a\"}\n\ndata: {\"type\":\"STEP_STARTED\"}\n\n\
                data: {\"type\":\"STEP_STARTED\"}\n\ndata: {\"type\":\"RUN_FINISHED\"}\n\ndata: {\"type\":\"CUSTOM\"}\n\n";
    let lines = explain(&answer("text/event-stream", body, true), None);
    assert_eq!(line(&lines, "protocol"), "ag-ui: recognised by its first frames (text/event-stream)");
    assert_eq!(line(&lines, "frames"), "5; used: TEXT_MESSAGE_CONTENT, RUN_FINISHED");
    assert!(line(&lines, "            not used:").starts_with("RUN_STARTED, STEP_STARTED ×2"), "{lines:#?}");
    let body = "event: values\ndata: {\"text\":\"a\"}\n\nevent: message\ndata: {\"text\":\"b\"}\n\ndata: [DONE]\n\n";
    let named = explain(&answer("text/event-stream", body, true), None);
    assert_eq!(line(&named, "frames"), "3; used: values, text");
    assert_eq!(line(&named, "            not used:"), "[DONE]");
    let document = answer("application/json", "{\"result\": \"three files\"}", true);
    assert_eq!(line(&explain(&document, None), "frames"), "1; used: result");
    assert_eq!(line(&lines, "            after the end, where only usage is read:"), "1");
}

#[test]
fn what_was_not_recognised_is_said() {
    let protocol = |body: &str, set| line(&explain(&answer("text/event-stream", body, true), set), "protocol");
    assert!(protocol("data: {\"colour\":\"blue\"}\n\n", None).starts_with("unknown: there were events"));
    assert!(protocol("data: {\"text\":\"a\"}\n\n", None).starts_with("generic: no known protocol was recognised"));
    assert!(protocol("data: {\"type\":\"RUN_STARTED\"}\n\n", Some("ag-ui")).contains("as --protocol says"));
    assert_eq!(explain(&answer("text/html", "<html>", true), None).len(), 1);
    let rejected = Answer { status: 422, ..Answer::default() };
    assert!(explain(&rejected, None)[0].starts_with("HTTP 422"));
    for (status, protocol, lines) in
        [(404, None, 3), (405, Some("invocations"), 3), (404, Some("custom"), 1), (500, None, 1), (204, None, 1)]
    {
        let said = explain(&Answer { status, ..Answer::default() }, protocol);
        assert_eq!(said.len(), lines, "{status} {protocol:?}: {said:#?}");
        assert!(said[0].starts_with(&format!("HTTP {status}: the status alone decides")), "{said:#?}");
    }
    let torn = explain(&answer("application/x-ndjson", "{\"text\":\"a\"}\n", false), None);
    assert_eq!(line(&torn, "end"), "interrupted: the connection closed before the answer ended");
}

#[test]
fn what_was_passed_over_is_said() {
    let body = "{\"text\":\"a\"}\n{\"colour\":\"b\"}\n{\"colour\":\"c\"}\n";
    let lines = explain(&answer("application/x-ndjson", body, true), None);
    assert_eq!(line(&lines, "frames"), "3; used: text");
    assert_eq!(line(&lines, "            not used:"), "colour ×2");
    assert_eq!(line(&lines, "            passed over, because nothing in them was understood:"), "2");
    assert!(line(&lines, "end").contains("2 frames were passed over"), "{lines:#?}");
    let pretty = answer("application/json", "{\n  \"result\": \"a\"\n}\n", true);
    assert_eq!(line(&explain(&pretty, None), "frames"), "1; used: result");
    let cut = explain(&answer("application/x-ndjson", "{\"text\":\"a\"}\n{\"te", true), None);
    assert_eq!(line(&cut, "end"), "interrupted: the answer ended within a line or a document, or said nothing");
}
