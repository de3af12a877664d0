//! Answers of which more has come than is kept: what changes the run is still heard.

use agent_trigger::agent::transcript::MAX_OUTPUT;
use agent_trigger::domain::answer::{AnswerError, End, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;

use crate::{SSE, decode, whole};

/// Reads a stream at once and in small pieces; both must record the same.
fn read(body: &str) -> Outcome {
    let outcome = whole(SSE, body);
    assert_eq!(decode(SSE, body.as_bytes().chunks(7), End::Framed), outcome);
    outcome
}

fn text_of(body: &str) -> String {
    read(body).output.expect("an answer").text
}

fn named(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// A message behind one that is full replaces it, however it comes.
#[test]
fn the_next_message_replaces_one_that_is_full() {
    let chunk = |id: &str, text: &str| {
        named("messages", &format!(r#"[{{"type":"AIMessageChunk","content":"{text}","id":"{id}"}},{{"a":1}}]"#))
    };
    let whole_message =
        |mode: &str, text: &str| named(mode, &format!(r#"[{{"type":"ai","content":"{text}","id":"2"}}]"#));
    for size in [10, MAX_OUTPUT - 100, MAX_OUTPUT, MAX_OUTPUT + 1, 9_000] {
        let piece = "x".repeat(size / 10);
        let first = "event: metadata\ndata: {}\n\n".to_owned() + &chunk("1", &piece).repeat(11);
        for next in [
            chunk("2", "final"),
            chunk("2", "fi") + &chunk("2", "nal"),
            named("messages", r#"[{"type":"AIMessageChunk","content":[{"text":"final"}],"id":"2"},{}]"#),
            whole_message("messages/complete", "final"),
            whole_message("messages/partial", "final"),
            whole_message("messages", "final"),
            named("values", r#"{"messages":[{"type":"ai","content":"final"}]}"#),
        ] {
            assert_eq!(text_of(&format!("{first}{next}")), "final", "{size} {next}");
        }
        // A message without text replaces nothing.
        assert!(text_of(&format!("{first}{}", chunk("2", ""))).starts_with('x'), "{size}");
    }
    for size in [10, MAX_OUTPUT + 1] {
        let delta = named("data", &format!("\"{}\"", "x".repeat(size / 10))).repeat(11);
        for next in [
            named("data", r#"{"output":{"content":"final"}}"#),
            named("data", r#"{"output":{"content":[{"type":"text","text":"final"}]}}"#),
            named("data", r#"{"ops":[{"op":"replace","path":"/final_output","value":"final"}]}"#),
        ] {
            let body = format!("event: metadata\ndata: {{}}\n\n{delta}{next}event: end\n\n");
            assert_eq!(text_of(&body), "final", "{size} {next}");
        }
    }
}

/// The events of an agent: what fills the answer, what may come then, in any order, and what ends the run.
struct Stream {
    begin: &'static str,
    delta: &'static str,
    then: &'static [&'static str],
    end: &'static str,
}

/// `@` is the text of a delta. An event that begins with `event:` has a name. Another that is no object is a line by itself.
const STREAMS: [Stream; 6] = [
    Stream {
        begin: "",
        delta: r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}]}"#,
        then: &[
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":"length"}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@","refusal":"No"},"finish_reason":null}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@","tool_calls":[{"function":{"name":"f"}}]},"finish_reason":null}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@"},"message":{"content":"whole"}}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@"},"message":{"content":"","tool_calls":[{"function":{"name":"f"}}]}}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":[{"type":"text","text":"@"}]},"finish_reason":null}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@"}}],"error":{"message":"boom"}}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"index":1,"delta":{"content":"@"},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3}}"#,
        ],
        end: r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    },
    Stream {
        begin: "",
        delta: r#"{"jsonrpc":"2.0","result":{"append":true,"artifact":{"artifactId":"1","parts":[{"kind":"text","text":"@"}]},"kind":"artifact-update"}}"#,
        then: &[
            r#"{"jsonrpc":"2.0","result":{"append":false,"artifact":{"artifactId":"1","parts":[{"kind":"text","text":"@"}]},"kind":"artifact-update"}}"#,
            r#"{"jsonrpc":"2.0","result":{"append":true,"artifact":{"artifactId":"2","parts":[{"kind":"text","text":"@"}]},"kind":"artifact-update"}}"#,
            r#"{"jsonrpc":"2.0","result":{"append":true,"artifact":{"artifactId":"1","parts":[{"kind":"text","text":"@"}]},"kind":"message","parts":[{"text":"@"}]}}"#,
            r#"{"jsonrpc":"2.0","result":{"kind":"task","artifacts":[{"artifactId":"2","parts":[{"text":"@"}]}],"status":{"state":"working"}}}"#,
            r#"{"jsonrpc":"2.0","result":{"append":true,"artifact":{"artifactId":"1","parts":[{"kind":"text","text":"@"}]},"kind":"artifact-update"},"error":{"message":"boom"}}"#,
        ],
        end: r#"{"jsonrpc":"2.0","result":{"kind":"status-update","status":{"state":"completed"}}}"#,
    },
    Stream {
        begin: "",
        delta: r#"{"jsonrpc":"2.0","result":{"artifactUpdate":{"artifact":{"artifactId":"1","parts":[{"text":"@"}]},"append":true}}}"#,
        then: &[
            r#"{"jsonrpc":"2.0","result":{"artifactUpdate":{"artifact":{"artifactId":"1","parts":[{"text":"@"}]},"append":false}}}"#,
            r#"{"jsonrpc":"2.0","result":{"artifactUpdate":{"artifact":{"artifactId":"1","parts":[{"text":"@"}]}}}}"#,
            r#"{"jsonrpc":"2.0","result":{"artifactUpdate":{"artifact":{"artifactId":"1","parts":[{"text":"@"},{"text":"@"}]},"append":true}}}"#,
            r#"{"jsonrpc":"2.0","result":{"task":{"artifacts":[{"artifactId":"1","parts":[{"text":"@"}]}],"status":{"state":"TASK_STATE_WORKING"}}}}"#,
        ],
        end: r#"{"jsonrpc":"2.0","result":{"statusUpdate":{"status":{"state":"TASK_STATE_COMPLETED"}}}}"#,
    },
    Stream {
        begin: "event: values\ndata: {\"messages\":[]}",
        delta: "event: messages\ndata: [{\"content\":\"@\",\"type\":\"AIMessageChunk\",\"id\":\"1\",\"usage_metadata\":null},{\"step\":1}]",
        then: &[
            "event: messages\ndata: [{\"content\":\"@\",\"type\":\"AIMessageChunk\",\"id\":\"1\",\"usage_metadata\":{\"input_tokens\":2}},{\"step\":1}]",
            "event: messages\ndata: [{\"content\":\"@\",\"type\":\"AIMessageChunk\",\"id\":\"2\",\"usage_metadata\":null},{\"step\":1}]",
            "event: messages\ndata: [{\"content\":\"@\",\"type\":\"tool\",\"id\":\"1\",\"usage_metadata\":null},{\"step\":1}]",
            "event: messages/complete\ndata: [{\"content\":\"@\",\"type\":\"ai\",\"id\":\"1\"}]",
            "event: values\ndata: {\"messages\":[{\"type\":\"ai\",\"content\":\"@\"}]}",
            "event: updates\ndata: {\"__interrupt__\":[{\"value\":1}]}",
            "event: error\ndata: {\"error\":\"E\",\"message\":\"boom\"}",
        ],
        end: "event: end\ndata: null",
    },
    Stream {
        begin: "",
        delta: r#"{"content":{"parts":[{"text":"@"}],"role":"model"},"partial":true,"invocationId":"e","author":"agent","id":"1"}"#,
        then: &[
            r#"{"content":{"parts":[{"text":"@"}],"role":"model"},"partial":true,"invocationId":"e","author":"agent","errorCode":"boom"}"#,
            r#"{"content":{"parts":[{"text":"@"}],"role":"model"},"partial":true,"invocationId":"e","author":"agent","finishReason":"MAX_TOKENS"}"#,
            r#"{"content":{"parts":[{"text":"@"}],"role":"model"},"partial":true,"invocationId":"e","author":"agent","interrupted":true}"#,
            r#"{"content":{"parts":[{"text":"@"}],"role":"model"},"partial":true,"invocationId":"e","author":"agent","error":"boom"}"#,
            r#"{"content":{"parts":[{"text":""}]},"partial":false,"invocationId":"e","author":"agent","usageMetadata":{"promptTokenCount":1}}"#,
            r#"{"content":{"parts":[{"text":"@"}],"role":"model"},"partial":false,"invocationId":"e","author":"agent","usageMetadata":{"promptTokenCount":1}}"#,
        ],
        end: "",
    },
    Stream {
        begin: "",
        delta: r#"{"kind":"@","value":{"a":[1],"b":"@"}}"#,
        then: &[
            r#"{"kind":"error","message":"boom"}"#,
            r#"{"kind":"error"}"#,
            r#"{"kind":"x","text":"@"}"#,
            r#"{"kind":"x","status":"length"}"#,
            "event: tool_x\ndata: {\"kind\":\"error\",\"value\":1}",
            r#"{"value":1}"#,
        ],
        end: "",
    },
];

/// Frames an event with the text `text`. White space of `pad` characters in its JSON makes no other event of it.
fn framed(event: &str, text: &str, pad: usize) -> String {
    let event = event.replace('@', text);
    let spaced = |data: &str| data[..1].to_owned() + &" ".repeat(pad) + &data[1..];
    match event.split_once("\ndata: ") {
        Some((name, data)) => format!("{name}\ndata: {}\n\n", spaced(data)),
        None if event.starts_with('{') => format!("data: {}\n\n", spaced(&event)),
        None => event,
    }
}

/// What an event's name says is heard behind an answer that is full.
#[test]
fn a_name_is_heard_behind_a_full_answer() {
    for (data, last) in [("\"@\"", "\"boom\""), (r#"{"text":"@"}"#, r#"{"text":"boom"}"#)] {
        for name in ["", "token"] {
            let delta = |text: &str| match name {
                "" => format!("data: {}\n\n", data.replace('@', text)),
                name => named(name, &data.replace('@', text)),
            };
            let full = delta(&"x".repeat(MAX_OUTPUT / 4)).repeat(5);
            let failed = read(&format!("{full}{}", named("failed", last))).verdict;
            assert_eq!(failed, Verdict::Failed(AnswerError::Reported { message: Some("boom".to_owned()) }), "{data}");
            let cancelled = read(&format!("{full}{}", named("run_cancelled", last))).finish_reason;
            assert_eq!(cancelled, Some(FinishReason::Cancelled), "{data}");
            assert_eq!(read(&format!("{full}{}", delta("more"))).verdict, Verdict::Completed, "{data}");
        }
    }
}

/// An event that repeats the one before it but for its text is passed over once the answer is full. That changes nothing:
/// with white space that makes every event another, the same stream is read the same.
#[test]
fn what_is_passed_over_changes_nothing() {
    let report = "Traceback (most recent call last):\n  x\nKeyError: boom\n";
    let [fill, long] = [MAX_OUTPUT / 4, MAX_OUTPUT + 1].map(|size| "x".repeat(size));
    let texts = ["one", "", "a \\\" quote", "\u{e9}\\\\"];
    for stream in &STREAMS {
        let mut events = vec![stream.delta, stream.delta, report];
        events.extend(stream.then);
        let mut verdicts = Vec::new();
        for at in 0..events.len().pow(3) {
            let chosen = [at % events.len(), at / events.len() % events.len(), at / events.len().pow(2)];
            let bodies = [false, true].map(|is_padded| {
                let mut pad = 0;
                let mut body = String::new();
                let mut add = |event: &str, text: &str| {
                    pad = if is_padded { pad % 7 + 1 } else { 0 };
                    if !event.is_empty() && event.starts_with(['{', 'e', 'T']) {
                        body +=
                            &framed(event, text, if event == stream.end && event.ends_with("null") { 0 } else { pad });
                    }
                };
                add(stream.begin, "");
                (0..5).for_each(|_| add(stream.delta, &fill));
                for (nth, event) in chosen.iter().enumerate() {
                    add(stream.delta, texts[nth]);
                    add(events[*event], texts[nth + 1]);
                    add(events[*event], if nth == 1 { &long } else { texts[nth] });
                }
                add(stream.delta, texts[0]);
                add(stream.end, "");
                body
            });
            let [compact, padded] = bodies.each_ref().map(|body| {
                let mut outcome = whole(SSE, body);
                outcome.progress.bytes = 0;
                outcome
            });
            assert_eq!(compact, padded, "{:?} {}", chosen.map(|at| events[at]), stream.delta);
            verdicts.push(format!("{:?} {:?}", compact.verdict, compact.output.map(|output| output.text.len())));
        }
        verdicts.sort_unstable();
        verdicts.dedup();
        assert!(verdicts.len() > 2, "the events say nothing: {verdicts:?}");
    }
}

/// Progress of an agent's own making is passed over, whatever came before it. What it may say is heard all the same.
#[test]
fn progress_says_nothing_but_a_failure() {
    let tick = r#"{"kind":"tick","value":{"a":[1]}}"#;
    let plain = Verdict::Completed;
    let failed = |words: Option<&str>| Verdict::Failed(AnswerError::Reported { message: words.map(str::to_owned) });
    for (event, verdict, text) in [
        (r#"{"kind":"tock","value":1}"#, plain.clone(), None),
        (r#"{"value":1}"#, plain.clone(), None),
        ("{}", plain.clone(), None),
        (r#"{"kind":"tick","text":"a"}"#, plain.clone(), Some("a")),
        (r#"{"kind":"tick","value":1"#, plain.clone(), Some(r#"{"kind":"tick","value":1"#)),
        (r#"{"kind":"error","value":1}"#, failed(None), None),
        (r#"{"kind":"tick","kind":"error"}"#, failed(None), None),
        (r#"{"kind":"tick","err":"boom"}"#, failed(Some("boom")), None),
        (r#"{"kind":"tick","\u0065rror":"boom"}"#, failed(Some("boom")), None),
        (r#"{"kind":"tick","throttlingException":{"message":"boom"}}"#, failed(Some("boom")), None),
        (r#"{"kind":"tick","jsonrpc":"2.0","error":{"message":"boom"}}"#, failed(Some("boom")), None),
        (r#"{"kind":"tick","status":"length"}"#, Verdict::Incomplete(FinishReason::MaxTokens), None),
    ] {
        for before in [&[][..], &[tick], &[tick, tick], &[tick, r#"{"value":1}"#]] {
            // A tool's error is no failure, and its kind is none that is known to say nothing.
            for tools in ["", "event: tool_x\ndata: {\"kind\":\"error\",\"value\":1}\n\n"] {
                for behind in [&[][..], &[tick], &[tick, tick]] {
                    let frames =
                        |events: &[&str]| events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
                    let body = frames(before) + tools + &frames(&[event]) + &frames(behind);
                    let outcome = read(&body);
                    assert_eq!(outcome.verdict, verdict, "{body}");
                    assert_eq!(outcome.output.map(|output| output.text).as_deref(), text, "{body}");
                }
            }
        }
    }
}
