//! A run on Google's ADK server, `/run_sse`, and the session that must exist before.
//! <https://google.github.io/adk-docs/get-started/testing/>

use reqwest::Url;
use serde_json::{Value, json};

use crate::{agent::request::parts::Request, domain::agent_definition::AgentDefinition};

/// Returns the body. `stateDelta` is the protocol's place for values without a name of their own: it gets `input`. The
/// model and the agent's row are not sent.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let task = &request.fire.task;
    let mut body = json!({
        "appName": request.name_on_server(definition),
        "userId": request.fire.user_id,
        "sessionId": request.session_id,
        "newMessage": {"role": "user", "parts": [{"text": task.prompt}]},
        "streaming": true,
    });
    if !task.input.is_empty() {
        // Not json!, which spells numbers anew.
        body["stateDelta"] = Value::Object(task.input.clone());
    }
    body
}

/// Returns the address at which the session is made. It is beside that of the run: `/run_sse` or `/run` at the end of
/// the path is replaced. Any other path stays, and the session's is appended.
pub(crate) fn session_url(request: &Request<'_>, definition: &AgentDefinition) -> Url {
    let mut url = definition.url.clone();
    let path = url.path().trim_end_matches('/');
    let base = ["/run_sse", "/run"].into_iter().find_map(|run| path.strip_suffix(run)).unwrap_or(path).to_owned();
    url.set_path(&base);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        path.extend(["apps", request.name_on_server(definition), "users", request.fire.user_id.as_str()]);
        path.extend(["sessions", request.session_id]);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn the_body_is_a_run_of_the_app() {
        let fire = fire(json!({"input": {"order": 7}}));
        let expected = json!({"appName": "agent-1", "userId": "user-1", "sessionId": "session-1", "streaming": true,
            "newMessage": {"role": "user", "parts": [{"text": "Say \"hi\""}]}, "stateDelta": {"order": 7}});
        assert_eq!(body(&request(&fire), &definition(json!({"protocol": "adk"}))), expected);
    }

    #[test]
    fn the_session_is_made_beside_the_run() {
        let fire = fire(json!({}));
        for (url, base) in [
            ("https://a.example.com", "https://a.example.com"),
            ("https://a.example.com/run_sse", "https://a.example.com"),
            ("https://a.example.com/api/run_sse?k=v", "https://a.example.com/api"),
        ] {
            let definition = definition(json!({"protocol": "adk", "url": url, "name": "my app/../x"}));
            let url = session_url(&request(&fire), &definition);
            let expected = format!("{base}/apps/my%20app%2F..%2Fx/users/user-1/sessions/session-1");
            assert_eq!(url.as_str().split('?').next(), Some(&*expected));
        }
    }
}
