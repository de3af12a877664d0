//! The settings that define agents: `AGENTS`, `AGENT_API_URL` with `AGENT_PROTOCOL` and `AGENT_AUTH`, and the ids of
//! the machine client where an agent needs its tokens.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    config::Settings,
    domain::{
        agent_auth::{AgentAuth, is_parameter_name},
        agent_definition::{AgentDefinition, AgentSource, Defaults},
        request_format::RequestFormat,
    },
    json::{fields::Fields, lenient},
};

impl<F: Fn(&str) -> Option<String>> Settings<F> {
    /// Reads `AGENTS`: definitions by their ids as JSON, or `ssm:` and the path of the parameters that hold them, which
    /// are not read here. Returns `None` if it is not set. Every problem is added. A definition with a problem is left
    /// out, and a value that cannot be read at all leaves no agents.
    pub(super) fn agents(&mut self, defaults: Defaults<'_>) -> Option<AgentSource> {
        const NAME: &str = "AGENTS";
        let text = self.optional(NAME)?;
        let mut agents = BTreeMap::new();
        if let Some(path) = text.strip_prefix("ssm:") {
            if path.len() > 1 && path.starts_with('/') && path.ends_with('/') && is_parameter_name(path) {
                return Some(AgentSource::Parameters(path.to_owned()));
            }
            self.problems.push(format!("{NAME} must be ssm:/path/ with a slash at both ends, or a JSON object"));
            return Some(AgentSource::Inline(agents));
        }
        match serde_json::from_str(&text) {
            Ok(Value::Object(definitions)) => {
                for (id, definition) in &definitions {
                    let read = AgentDefinition::read(NAME, id, definition, defaults, &mut self.problems);
                    agents.extend(read.map(|definition| (id.clone(), definition)));
                }
            }
            Ok(_) => self.problems.push(format!("{NAME} must be a JSON object of agents by their ids")),
            // The text itself may hold what nobody should see.
            Err(error) => {
                self.problems.push(format!("{NAME} must be JSON ({}), or ssm:/path/", lenient::fault(&error)));
            }
        }
        Some(AgentSource::Inline(agents))
    }

    /// Reads the agent at `AGENT_API_URL`, which must be set unless there are `AGENTS`. Its protocol is `invocations`
    /// and its auth Cognito unless `AGENT_PROTOCOL` and `AGENT_AUTH` say otherwise. Their problems are reported even if
    /// there is no such agent. `mcp` and `custom` need more than an address and are problems here. Returns `None` if
    /// there is no such agent or a problem.
    pub(super) fn unnamed_agent(&mut self, has_agents: bool, defaults: Defaults<'_>) -> Option<AgentDefinition> {
        let format = self.optional("AGENT_PROTOCOL").map_or(Some(RequestFormat::Invocations), |name| {
            let format = RequestFormat::from_name(&name);
            let problem = match format {
                Some(RequestFormat::Mcp) => "mcp needs a tool, which only a definition in AGENTS can name".to_owned(),
                Some(RequestFormat::Custom) => {
                    "custom needs a template, which only a definition in AGENTS can hold".to_owned()
                }
                Some(_) => return format,
                None => format!("must be one of {}", RequestFormat::names()),
            };
            self.problems.push(format!("AGENT_PROTOCOL {problem}"));
            None
        });
        let auth = self.agent_auth();
        let address = match self.optional("AGENT_API_URL") {
            None if has_agents => return None,
            _ => self.required("AGENT_API_URL", "the agent's URL, https://…")?,
        };
        // The address is read even if the rest is wrong: one start names every problem.
        let is_whole = format.is_some() && auth.is_some();
        let format = format.unwrap_or(RequestFormat::Invocations);
        let definition = AgentDefinition::with_address(&address, format, auth.unwrap_or(AgentAuth::None), defaults);
        self.check("AGENT_API_URL", definition).filter(|_| is_whole)
    }

    /// Reads `AGENT_AUTH`: a word, or the JSON object with `secret`. Unset, it is Cognito. Anything else is a problem,
    /// and `None`.
    fn agent_auth(&mut self) -> Option<AgentAuth> {
        const NAME: &str = "AGENT_AUTH";
        let Some(text) = self.optional(NAME) else { return Some(AgentAuth::Cognito) };
        let value = if text.starts_with('{') { serde_json::from_str(&text).ok() } else { None };
        let members = [(NAME.to_owned(), value.unwrap_or(Value::String(text)))].into_iter().collect();
        let mut fields = Fields::new("", &members);
        let auth = AgentAuth::read(&mut fields, NAME);
        let problems = fields.problems.iter().map(|problem| problem.trim_start_matches('.').replacen(": ", " ", 1));
        self.problems.extend(problems);
        auth
    }

    /// Reads the user pool's id and the machine client's. Both must be set if an agent that is known at the start uses
    /// Cognito's tokens. If none does, each is empty unless it is set.
    pub(super) fn machine_client(&mut self, has_agents: bool) -> (String, String) {
        let is_needed = self.uses_cognito(has_agents);
        let pairs = [
            ("COGNITO_USER_POOL_ID", "the user pool's id, region_xxxxxxxxx"),
            ("COGNITO_CLIENT_ID", "the machine client's id"),
        ];
        let [pool, client] = pairs.map(|(name, meaning)| {
            if is_needed { self.required(name, meaning) } else { self.optional(name) }.unwrap_or_default()
        });
        (pool, client)
    }

    /// Returns true if an agent that is known at the start uses Cognito's tokens. A definition with other faults
    /// counts, too, so that one start names everything that is missing. Definitions in parameters are not known yet: if
    /// one uses Cognito, it is refused when it is read.
    fn uses_cognito(&self, has_agents: bool) -> bool {
        let has_unnamed = !has_agents || self.optional("AGENT_API_URL").is_some();
        let unnamed = has_unnamed && self.optional("AGENT_AUTH").is_none_or(|auth| auth == "cognito");
        let agents = self.optional("AGENTS").and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let is_cognito = |agent: &Value| match agent.get("auth") {
            None | Some(Value::Null) => agent.is_object(),
            Some(auth) => auth == "cognito",
        };
        unnamed || agents.as_ref().and_then(Value::as_object).is_some_and(|agents| agents.values().any(is_cognito))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn the_unnamed_agent_is_called_as_the_settings_say() {
        let agent = config(&[]).unwrap().unnamed_agent.unwrap();
        assert_eq!(
            (agent.url.as_str(), agent.format),
            ("https://agent.example.com/api/invocations", RequestFormat::Invocations)
        );
        assert_eq!(agent.auth, AgentAuth::Cognito);
        let agent = config(&[("AGENT_PROTOCOL", "ag-ui"), ("AGENT_AUTH", "none")]).unwrap().unnamed_agent.unwrap();
        assert_eq!((agent.url.as_str(), agent.format), ("https://agent.example.com/api", RequestFormat::AgUi));
        assert_eq!(agent.auth, AgentAuth::None);
        let secret = r#"{"secret": {"header": "X-Api-Key", "parameter": "/agents/key"}}"#;
        let expected = AgentAuth::Secret { header: "x-api-key".to_owned(), parameter: "/agents/key".to_owned() };
        assert_eq!(config(&[("AGENT_AUTH", secret)]).unwrap().unnamed_agent.unwrap().auth, expected);
        for (url, expected) in
            [("https://bedrock-agentcore.us-west-2.amazonaws.com/runtimes/x", true), ("https://a.com", false)]
        {
            assert_eq!(config(&[("AGENT_API_URL", url)]).unwrap().is_agentcore, expected, "{url}");
        }
    }

    #[test]
    fn cognito_is_required_only_where_an_agent_uses_it() {
        let no_cognito = [("COGNITO_USER_POOL_ID", ""), ("COGNITO_CLIENT_ID", "")];
        let with = |more: &[(&'static str, &'static str)]| config(&[&no_cognito[..], more].concat());
        let named = |auth: &str| format!(r#"{{"a": {{"url": "https://a.example.com", "auth": "{auth}"}}}}"#);
        assert_eq!(with(&[]).unwrap_err().problems.len(), 2);
        assert!(with(&[("AGENT_AUTH", "iam")]).is_ok());
        assert!(with(&[("AGENT_API_URL", ""), ("AGENTS", "ssm:/agents/")]).is_ok());
        for (auth, problems) in [("none", 0), ("cognito", 2)] {
            let agents = named(auth);
            let config = config(&[&no_cognito[..], &[("AGENT_API_URL", ""), ("AGENTS", &agents)]].concat());
            assert_eq!(config.map_or_else(|error| error.problems.len(), |_| 0), problems);
        }
    }

    #[test]
    fn problems_of_agents_are_named_with_the_others() {
        let agents = r#"{"a": {"url": "http://a.example.com", "protocol": "soap"}, "b": {"auth": "iam"}}"#;
        let error = config(&[("AGENTS", agents), ("LEASE_SECONDS", "0"), ("AGENT_AUTH", "basic")]).unwrap_err();
        for expected in [
            "AGENTS.a.url: must be https",
            "AGENTS.a.protocol: must be",
            "AGENTS.b.url: is missing",
            "LEASE_SECONDS must be",
            "AGENT_AUTH must be",
        ] {
            assert!(error.problems.iter().any(|problem| problem.starts_with(expected)), "{expected} in {error}");
        }
        for (name, text) in [
            ("AGENTS", "{"),
            ("AGENTS", "[]"),
            ("AGENTS", "ssm:agents"),
            ("AGENTS", "ssm:/agents"),
            ("AGENTS", "ssm:/a b/"),
            ("AGENT_PROTOCOL", "mcp"),
            ("AGENT_PROTOCOL", "custom"),
            ("AGENT_PROTOCOL", "soap"),
            ("AGENT_AUTH", "{"),
            ("AGENT_AUTH", r#"{"secret": {}}"#),
            ("AWS_ENDPOINT_URL_SSM", "http://ssm.example.com"),
        ] {
            let error = config(&[(name, text)]).unwrap_err();
            assert!(error.problems.iter().all(|problem| problem.starts_with(name)), "{error}");
        }
        for (name, text) in [("AGENT_PROTOCOL", "soap"), ("AGENT_AUTH", "basic")] {
            let error = config(&[(name, text), ("AGENT_API_URL", "http://a.example.com")]).unwrap_err();
            for expected in [name, "AGENT_API_URL"] {
                assert!(error.problems.iter().any(|problem| problem.starts_with(expected)), "{expected} in {error}");
            }
        }
    }
}
