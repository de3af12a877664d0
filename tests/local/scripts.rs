//! Checks that the stand-in agents say in their protocols what they are meant to.

use standins::ProtocolScripts;

use crate::{decode, message, recorded};

const ANSWER: &str = "Three files came in since yesterday, all of them complete.";

#[test]
fn each_protocols_scripts_end_as_their_names_say() {
    for name in ProtocolScripts::NAMES {
        let scripts = ProtocolScripts::of(name, ANSWER, "no such bucket").unwrap();
        let read = |script: &standins::Script| {
            let kind = script.headers.iter().find(|(name, _)| name == "content-type").map(|(_, kind)| kind.as_str());
            decode(script.status, kind.unwrap_or_default(), &script.body(), usize::MAX)
        };
        let happy = read(&scripts.happy);
        assert_eq!(recorded(&happy.verdict), ("completed", None), "{name}");
        assert_eq!(happy.output.as_ref().map(|output| output.text.as_str()), Some(ANSWER), "{name}");
        assert_eq!(scripts.happy.answer.as_deref(), Some(ANSWER), "{name}");
        let protocol = if name == "invocations" { "strands-typescript" } else { name.trim_end_matches("-1.0") };
        assert_eq!(happy.protocol.as_str(), protocol);

        let failing = read(&scripts.failing);
        assert_eq!(recorded(&failing.verdict), ("failed", Some("AgentFailed")), "{name}");
        assert_eq!(message(&failing), Some("no such bucket"), "{name}");

        let short = read(&scripts.short);
        assert_eq!(recorded(&short.verdict), ("failed", Some("AgentIncomplete")), "{name}: {:?}", short.verdict);
        let reason = match name {
            "a2a" | "a2a-1.0" => "input_required",
            "mcp" => "working",
            "openai-responses" => "max_tokens",
            _ => "interrupt",
        };
        assert_eq!(short.finish_reason.map(|reason| reason.as_str()), Some(reason), "{name}");
    }
    assert!(ProtocolScripts::of("adk", ANSWER, "").is_none());
}
