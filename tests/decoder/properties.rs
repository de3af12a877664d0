//! What holds for any bytes.

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::agent::transcript::MAX_OUTPUT;
use agent_trigger::domain::answer::{End, Outcome, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{COMPLETION, JSON, NDJSON, SSE, decode, whole};

/// Frames of each protocol, as server-sent events.
const FRAMES: [&str; 53] = [
    "data: {\"type\":\"RUN_STARTED\"}\n\n",
    "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"1\",\"delta\":\"x\"}\n\n",
    "data: {\"type\":\"RUN_FINISHED\",\"usage\":[{\"inputTokens\":1}]}\n\n",
    "data: {\"type\":\"RUN_ERROR\",\"message\":\"boom\"}\n\n",
    "data: {\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"status-update\",\"status\":{\"state\":\"working\"}}}\n\n",
    "data: {\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"status-update\",\"status\":{\"state\":\"completed\"}}}\n\n",
    "data: {\"jsonrpc\":\"2.0\",\"result\":{\"artifactUpdate\":{\"artifact\":{\"parts\":[{\"text\":\"x\"}]}}}}\n\n",
    "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"text\":\"x\"}]}}\n\n",
    "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n",
    "data: {\"type\":\"response.created\"}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n",
    "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
    "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n",
    "data: [DONE]\n\n",
    "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"}}\n\n",
    "data: {\"type\":\"message_stop\"}\n\n",
    "data: {\"type\":\"start\"}\n\n",
    "data: {\"type\":\"text-delta\",\"delta\":\"x\"}\n\n",
    "data: {\"type\":\"finish\",\"finishReason\":\"stop\"}\n\n",
    "data: {\"type\":\"abort\"}\n\n",
    "data: {\"type\":\"finish\",\"runId\":\"1\",\"payload\":{\"stepResult\":{\"reason\":\"stop\"}}}\n\n",
    "event: values\ndata: {\"messages\":[{\"type\":\"ai\",\"content\":\"x\"}]}\n\n",
    "event: messages\ndata: [{\"type\":\"AIMessageChunk\",\"content\":\"x\"}]\n\n",
    "event: data\ndata: \"x\"\n\n",
    "event: end\n\n",
    "data: {\"invocationId\":\"1\",\"author\":\"a\",\"partial\":true,\"content\":{\"parts\":[{\"text\":\"x\"}]}}\n\n",
    "data: {\"invocationId\":\"1\",\"author\":\"a\",\"errorCode\":\"SAFETY\"}\n\n",
    "data: {\"messageStart\":{\"role\":\"assistant\"}}\n\n",
    "data: {\"messageStop\":{\"stopReason\":\"end_turn\"}}\n\n",
    "data: {\"metadata\":{\"usage\":{\"inputTokens\":1}}}\n\n",
    "data: {\"init_event_loop\":true}\n\n",
    "data: \"{\\\"data\\\": \\\"x\\\"}\"\n\n",
    "data: \"{'result': AgentResult(stop_reason='interrupt')}\"\n\n",
    "data: {\"type\":\"agentResultEvent\",\"result\":{\"stopReason\":\"endTurn\"}}\n\n",
    "data: {\"error\":\"boom\"}\n\n",
    "data: {\"text\":\"x\"}\n\n",
    "event: end\ndata: {\"error\":\"boom\"}\n\n",
    "event: updates\ndata: {\"error\":\"boom\"}\n\n",
    "event: agent_error\ndata: boom\n\n",
    "{\"error\":\"boom\"}\n",
    "{\n  \"error\": \"boom\"\n}\n",
    "Traceback (most recent call last):\n  x\nKeyError: boom\n",
    "data: {'error': 'boom'}\n\n",
    "data: {\"stop_reason\":\"interrupt\"}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}],\"usageMetadata\":{\"promptTokenCount\":2}}\n\n",
    "data: {\"candidates\":[{\"finishReason\":\"OTHER\"}],\"promptFeedback\":{\"blockReason\":1}}\n\n",
    "{\"generation\":\"x\",\"prompt_token_count\":18446744073709551615,\"generation_token_count\":1}\n",
    "{\"results\":[{\"outputText\":\"x\",\"completionReason\":\"LENGTH\"}],\"inputTextTokenCount\":5}\n",
    "{\"choices\":[{\"text\":\"x\",\"stop_reason\":null}],\"amazon-bedrock-invocationMetrics\":{}}\n",
];

/// What stands in the events that end a run well at once.
const TERMINAL: [&str; 12] = [
    "serverCompletionEvent",
    "RUN_FINISHED",
    "completed",
    "event: message",
    "\"message\":",
    "\"result\":",
    "finish_reason",
    "message_stop",
    "\"finish\"",
    "messageStop",
    "event: end",
    "event:end",
];

/// Bytes that are often nearly an event.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..12),
        prop::sample::select(vec![
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "data: ",
            "data:",
            "event: error\n",
            "event:",
            ":",
            "id: 1\n",
            "\u{feff}",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            "\\u00e4",
            "\\ud83d",
            "\\ude00",
            ",",
            "null",
            "true",
            "-1.5e999",
            "🚀",
            "{'",
            "{'a': 'b'}\n",
            "Traceback (most recent call last):\n",
            "  \"a\": 1,\n",
            " ",
            "\"type\":",
            "\"object\":\"x\",",
            "\"object\":\"chat.completion.chunk\",",
            "{\"type\":\"modelMetadataEvent\",\"object\":\"x\",\"answer\":\"hi\"}",
            "{\"type\":\"x\",\"object\":\"chat.completion.chunk\",\"choices\":[]}",
            "\"error\":",
            "\"error_type\":",
            "\"force_stop\":true",
            "\"message\":",
            "\"result\":",
            "\"event\":{\"contentBlockDelta\":{\"delta\":{\"text\":\"x\"}}}",
            "\"serverErrorEvent\"",
            "{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{\"text\":\"äx\"}}",
            "{\"type\":\"modelMetadataEvent\",\"usage\":{\"inputTokens\":99999999999999999999}}",
            COMPLETION,
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        prop::sample::select(FRAMES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn content_type() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![NDJSON, SSE, JSON, None, Some("text/plain; charset=utf-8")])
}

fn end() -> impl Strategy<Value = End> {
    prop::sample::select(vec![End::Framed, End::Torn])
}

/// Cuts `body` at these places, taken as fractions of its length.
pub(crate) fn chunks<'a>(body: &'a [u8], cuts: &[u16]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * body.len() / usize::from(u16::MAX)).collect();
    at.sort_unstable();
    let starts = std::iter::once(0).chain(at.clone());
    starts.zip(at.iter().copied().chain([body.len()])).map(|(from, to)| &body[from..to]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunking_never_matters(body in body(), cuts in vec(any::<u16>(), 0..9), of in content_type(), end in end()) {
        let expected: Outcome = decode(of, [&body[..]], end);
        prop_assert_eq!(&decode(of, chunks(&body, &cuts), end), &expected);
        prop_assert_eq!(&decode(of, body.chunks(1), end), &expected);
        prop_assert!(expected.output.is_none_or(|output| output.text.len() <= MAX_OUTPUT && !output.text.is_empty()));
    }

    #[test]
    fn torn_bodies_complete_by_a_terminal_event_only(body in body(), of in content_type()) {
        let torn = decode(of, [&body[..]], End::Torn);
        let text = String::from_utf8_lossy(&body);
        prop_assert!(torn.verdict != Verdict::Completed || TERMINAL.iter().any(|word| text.contains(word)), "{text}");
    }

    /// Once decided, decided: neither more bytes nor how the connection ends changes anything.
    #[test]
    fn what_is_decided_stays_decided(frames in vec(prop::sample::select(FRAMES.to_vec()), 1..12), more in body(), end in end()) {
        let mut decoder = Decoder::new(SSE).expect("SSE");
        let decided = frames.iter().position(|frame| decoder.feed(frame.as_bytes()).is_some());
        let Some(at) = decided else { return Ok(()) };
        let before = decode(SSE, frames[..=at].iter().map(|frame| frame.as_bytes()), End::Torn);
        decoder.feed(&more);
        let after = decoder.finish(end);
        prop_assert_eq!(&after, &before);
        prop_assert_eq!(&decode(SSE, [&frames.concat().into_bytes()[..], &more], end), &before);
    }

    /// A stream of frames without a terminal event never completes when it is torn, wherever that is.
    #[test]
    fn no_prefix_of_frames_completes_torn(frames in vec(prop::sample::select(FRAMES.to_vec()), 1..12), cut in any::<u16>()) {
        let body = frames.concat();
        let at = usize::from(cut) * body.len() / usize::from(u16::MAX);
        let torn = decode(SSE, [&body.as_bytes()[..at]], End::Torn);
        let text = &body[..at];
        prop_assert!(torn.verdict != Verdict::Completed || TERMINAL.iter().any(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn garbage_lines_never_hide_a_terminal_event(
        lines in vec(vec(any::<u8>().prop_map(|byte| if byte == b'\n' { b' ' } else { byte }), 0..60), 0..12),
        cuts in vec(any::<u16>(), 0..5),
    ) {
        // Lines that SSE would claim are not NDJSON's garbage.
        let mut body = b"{}\n".to_vec();
        lines.iter().for_each(|line| body.extend_from_slice(&[line, &b"\n"[..]].concat()));
        body.extend_from_slice(COMPLETION.as_bytes());
        body.extend_from_slice(b"\nmore");
        let outcome = decode(NDJSON, chunks(&body, &cuts), End::Torn);
        prop_assert_eq!(outcome.verdict, Verdict::Completed);
        prop_assert_eq!(outcome.request_id.as_deref(), Some("req-1"));
        prop_assert_eq!(outcome.progress.bytes, body.len() as u64 - 4);
    }

    #[test]
    fn any_text_arrives_as_it_was_sent(parts in vec(any::<String>(), 1..5)) {
        let quote = |text: &str| serde_json::to_string(text).expect("a string");
        let mut body = "{\"type\":\"modelMessageStartEvent\"}\n".to_owned();
        for part in &parts {
            let text = quote(part);
            body += &format!("{{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{{\"text\":{text}}}}}\n");
        }
        body += COMPLETION;
        let text = parts.concat();
        prop_assert_eq!(whole(NDJSON, body).output.map(|output| output.text).unwrap_or_default(), text.clone());
        let answer = whole(JSON, quote(&text)).output;
        prop_assert_eq!(answer.map(|output| output.text).unwrap_or_default(), text);
    }
}
