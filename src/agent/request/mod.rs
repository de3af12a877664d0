//! The bodies of requests, with one file for each protocol. Every id in a body is the session's, the execution's, or
//! derived from it, so that another try sends the same bytes.

pub(super) mod a2a;
pub(super) mod adk;
mod ag_ui;
mod custom;
mod invocations;
mod langgraph;
pub(super) mod mcp;
mod openai;
pub mod parts;

use serde_json::Value;

use crate::{
    agent::request::parts::Request,
    domain::{agent_definition::AgentDefinition, request_format::RequestFormat},
};

/// Returns the body for an agent of this definition, in its form. Another try for the same execution has the same
/// bytes.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    match definition.format {
        RequestFormat::Invocations => invocations::body(request, definition),
        RequestFormat::AgUi => ag_ui::body(request, definition),
        RequestFormat::A2a(version) => a2a::body(request, definition, version),
        RequestFormat::Mcp => mcp::body(request, definition),
        RequestFormat::OpenaiResponses => openai::responses_body(request, definition),
        RequestFormat::OpenaiChat => openai::chat_body(request, definition),
        RequestFormat::Langgraph => langgraph::body(request, definition),
        RequestFormat::Adk => adk::body(request, definition),
        RequestFormat::Custom => custom::body(request, definition),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{agent_definition::Defaults, fire::Fire, platform::Platform},
        events::schedule::{Event, parse},
        json::lenient,
    };

    /// The fire of an event with these members in its detail.
    pub(crate) fn fire(members: Value) -> Fire {
        let mut event = json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {"triggerId": "trigger-1",
            "userId": "user-1", "agentId": "agent-1", "prompt": "Say \"hi\"", "scheduledTime": "2026-01-31T07:00:00Z"}});
        for (name, value) in members.as_object().unwrap() {
            event["detail"][name] = value.clone();
        }
        match parse(Some(&event.to_string()), Platform::Other).unwrap() {
            Event::Scheduled(fire) => *fire,
            Event::Bus(event) => panic!("{event:?}"),
        }
    }

    /// A definition with these members.
    pub(crate) fn definition(members: Value) -> AgentDefinition {
        let mut definition = json!({"url": "https://a.example.com"});
        for (name, value) in members.as_object().unwrap() {
            definition[name] = value.clone();
        }
        let mut problems = Vec::new();
        let read = AgentDefinition::read("AGENTS", "agent-1", &definition, Defaults::default(), &mut problems);
        read.unwrap_or_else(|| panic!("{problems:?}"))
    }

    pub(crate) fn request(fire: &Fire) -> Request<'_> {
        Request { fire, session_id: "session-1", execution_id: "execution-1", profile: None, callback: None }
    }

    #[test]
    fn a_retry_sends_the_same_ids_and_another_execution_others() {
        let fire = fire(json!({}));
        for format in RequestFormat::ALL {
            let mut members = json!({"protocol": format.as_str()});
            match format {
                RequestFormat::Mcp => members["tool"] = json!({"name": "run", "argument": "task"}),
                RequestFormat::Custom => members["template"] = json!(["{{prompt}}", "{{executionId}}"]),
                _ => {}
            }
            let definition = definition(members);
            let body = |execution_id| body(&Request { execution_id, ..request(&fire) }, &definition);
            assert_eq!(body("execution-1"), body("execution-1"), "{format}");
            // These hold no id but the session's, which an event may give.
            let is_the_same = matches!(format, RequestFormat::Invocations | RequestFormat::Adk);
            assert_eq!(body("execution-1") == body("execution-2"), is_the_same, "{format}");
            assert!(body("execution-1").to_string().contains(r#"Say \"hi\""#), "{format}");
        }
    }

    #[test]
    fn numbers_keep_their_spelling_in_every_body() {
        let mut fire = fire(json!({}));
        let Ok(Value::Object(input)) = lenient::parse(r#"{"x":[1e15,1.50,1e400]}"#) else { unreachable!() };
        fire.task.input = input;
        for format in RequestFormat::ALL {
            let mut members = json!({"protocol": format.as_str()});
            match format {
                RequestFormat::Mcp => members["tool"] = json!({"name": "run", "argument": "task"}),
                RequestFormat::Custom => members["template"] = json!({"q": "{{prompt}}"}),
                _ => {}
            }
            let body = body(&request(&fire), &definition(members)).to_string();
            assert!(body.contains("[1e15,1.50,1e400]"), "{format}: {body}");
        }
    }

    #[test]
    fn a_custom_body_is_the_template_with_the_input_beside_it() {
        let fire = fire(json!({"input": {"order": 7, "q": "not this"}}));
        let template = json!({"q": "{{prompt}}", "session": "{{sessionId}}", "model": "{{modelId}}"});
        let definition = definition(json!({"protocol": "custom", "template": template}));
        let expected = json!({"q": "Say \"hi\"", "session": "session-1", "order": 7});
        assert_eq!(body(&request(&fire), &definition), expected);
    }
}
