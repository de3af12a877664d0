//! An agent's definition: its address, its protocol, and how the caller proves its identity to it. Settings alone hold
//! definitions. An event or a table row chooses an agent by its id and never names an address.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    domain::{
        agent_auth::{AgentAuth, is_reserved, is_token},
        agent_template::Template,
        endpoint::{self, agent_url},
        finish_reason::{FinishReason, accept_finish_reasons},
        protocol::Protocol,
        request_format::RequestFormat,
    },
    json::fields::{Fields, kind, member, push},
};

/// The members of a definition.
const MEMBERS: [&str; 9] =
    ["url", "protocol", "auth", "model", "name", "tool", "template", "headers", "acceptFinishReasons"];

/// The definition of how to call one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentDefinition {
    /// The address that its requests go to.
    pub url: Url,
    /// True if it is on AgentCore: by the address's host, or because the address was given as an ARN.
    pub is_agentcore: bool,
    /// The form of its requests.
    pub format: RequestFormat,
    /// The proof of identity that its requests bear.
    pub auth: AgentAuth,
    /// The model that it should use where neither the event nor the trigger names one.
    pub model: Option<String>,
    /// Its name on its server, where that is not its id: LangGraph's `assistant_id`, ADK's `appName`.
    pub name: Option<String>,
    /// The MCP tool to call.
    pub tool: Option<Tool>,
    /// The body of a custom request.
    pub template: Option<Template>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The ways to stop short that count as completed, unless the event or the trigger names its own.
    pub accept_finish_reasons: Vec<FinishReason>,
    /// SHA-256 of all of this, in hexadecimal.
    pub hash: String,
}

/// The mark of the definition that a run used. Two marks are equal if the definitions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionMark {
    /// The name of the form of its requests.
    pub protocol: &'static str,
    /// Its hash.
    pub hash: String,
}

/// An MCP tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The tool's name.
    pub name: String,
    /// The argument that takes the prompt.
    pub argument: String,
}

/// The place of the agents' definitions.
#[derive(Debug, Clone)]
pub enum AgentSource {
    /// In the setting itself.
    Inline(BTreeMap<String, AgentDefinition>),
    /// In SSM parameters whose names begin with this path, which ends in `/`. Each one is read when its agent is first
    /// called.
    Parameters(String),
}

/// The values used where a definition has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defaults<'a> {
    /// The host to use for AgentCore's data plane where an ARN is given (`AWS_ENDPOINT_URL_BEDROCK_AGENTCORE`).
    pub agentcore_endpoint: Option<&'a Url>,
}

impl AgentDefinition {
    /// Reads the definition of the agent `id`, which is the member `id` of the value at `place`. Every problem is added
    /// to `problems`, with the path `place.id` before it. A definition that is no object is one problem. The result is
    /// `None` if this adds a problem. Problems repeat the names of members and placeholders, but no value of the
    /// definition.
    pub(crate) fn read(
        place: &str,
        id: &str,
        definition: &Value,
        defaults: Defaults<'_>,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let path = member(place, id);
        let Value::Object(object) = definition else {
            push(problems, format!("{path}: must be an object, not {}", kind(definition)));
            return None;
        };
        let before = problems.len();
        let mut fields = Fields { path, object, problems: std::mem::take(problems) };
        let definition = Self::read_fields(&mut fields, defaults);
        *problems = fields.problems;
        definition.filter(|_| problems.len() == before)
    }

    /// Returns a definition with an address, a form and an auth, and none of the optional members. The agent at
    /// `AGENT_API_URL` is one. `address` is a URL or an AgentCore ARN, which [`agent_url`] turns into the URL to call.
    /// The agent is on AgentCore if the address is an ARN or has a host of AgentCore. The hash is set. A caller that
    /// adds another member must set it anew.
    ///
    /// # Errors
    /// The error says what is wrong with the address.
    pub(crate) fn with_address(
        address: &str,
        format: RequestFormat,
        auth: AgentAuth,
        defaults: Defaults<'_>,
    ) -> Result<Self, &'static str> {
        let url = agent_url(address, format, defaults.agentcore_endpoint)?;
        let definition = Self {
            is_agentcore: address.starts_with("arn:") || endpoint::is_agentcore(&url),
            url,
            format,
            auth,
            model: None,
            name: None,
            tool: None,
            template: None,
            headers: Vec::new(),
            accept_finish_reasons: Vec::new(),
            hash: String::new(),
        };
        Ok(definition.hashed())
    }

    /// Reads the members of a definition and adds every problem to `fields`. An unknown member is a problem, because it
    /// is most likely misspelt. Without `protocol` the form is `invocations`, and without `auth` it is Cognito. An
    /// unusable `protocol` is a problem and is read as `invocations`. A definition may be returned even with problems:
    /// the caller must look at both. `None` means that the address or the auth cannot be used.
    fn read_fields(fields: &mut Fields<'_>, defaults: Defaults<'_>) -> Option<Self> {
        for name in fields.object.keys().filter(|name| !MEMBERS.contains(&name.as_str())).cloned().collect::<Vec<_>>() {
            fields.problem(&name, &format!("is none of a definition's members: {}", MEMBERS.join(", ")));
        }
        let format = match fields.text("protocol") {
            None => RequestFormat::Invocations,
            Some(name) => RequestFormat::from_name(&name).unwrap_or_else(|| {
                fields.problem("protocol", &format!("must be one of {}", RequestFormat::names()));
                RequestFormat::Invocations
            }),
        };
        let auth = AgentAuth::read(fields, "auth");
        let address = fields.required_text("url");
        let model = optional_text(fields, "model");
        let name = optional_text(fields, "name");
        let tool = read_tool(fields, format);
        let template = read_template(fields, format);
        let headers = read_headers(fields, auth.as_ref());
        let accept_finish_reasons = accept_finish_reasons(fields).unwrap_or_default();
        let address = address?;
        match Self::with_address(&address, format, auth?, defaults) {
            Ok(base) => {
                let definition = Self { model, name, tool, template, headers, accept_finish_reasons, ..base };
                Some(definition.hashed())
            }
            Err(problem) => {
                fields.problem("url", problem);
                None
            }
        }
    }

    /// Returns the protocol of the agent's requests.
    pub fn protocol(&self) -> Protocol {
        self.format.protocol()
    }

    /// Returns the mark that records and kept inputs hold: the name of the form and the hash. It shows whether two
    /// definitions are the same, and none of their values.
    pub fn mark(&self) -> DefinitionMark {
        DefinitionMark { protocol: self.format.as_str(), hash: self.hash.clone() }
    }

    /// Sets `hash` to the SHA-256 hash of all other members, in hexadecimal. The hash covers the names of a secret's
    /// header and parameter, but never the secret itself. If the hashed members or their order change, every kept input
    /// looks as if its agent had been defined in another way.
    fn hashed(mut self) -> Self {
        let Self {
            url, is_agentcore, format, auth, model, name, tool, template, headers, accept_finish_reasons, ..
        } = &self;
        let auth = match auth {
            AgentAuth::Secret { header, parameter } => json!([header, parameter]),
            other => json!(other.as_str()),
        };
        let tool = tool.as_ref().map(|Tool { name, argument }| [name, argument]);
        let accepted: Vec<_> = accept_finish_reasons.iter().map(|reason| reason.as_str()).collect();
        let template = template.as_ref().map(Template::as_value);
        let all =
            json!([url.as_str(), is_agentcore, format.as_str(), auth, model, name, tool, template, headers, accepted]);
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(all.to_string()) {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        self.hash = hash;
        self
    }
}

/// Reads the text `name`. Returns `None` if it is absent or null. Anything but a text is a problem, and so is an empty
/// or blank text. Both return `None`.
fn optional_text(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    fields.value(name)?;
    fields.required_text(name)
}

/// Reads `tool`, whose members `name` and `argument` must be texts that are not blank. It is a problem if `mcp` has no
/// `tool`, and if any other form has one. Returns `None` for another form than `mcp`, for no `tool`, and for one with a
/// problem.
fn read_tool(fields: &mut Fields<'_>, format: RequestFormat) -> Option<Tool> {
    let is_mcp = format == RequestFormat::Mcp;
    match (is_mcp, fields.value("tool").is_some()) {
        (true, false) => fields.problem("tool", "is missing: mcp needs {\"name\": …, \"argument\": …}"),
        (false, true) => fields.problem("tool", "is for mcp only"),
        _ => {}
    }
    let is_given = fields.value("tool").is_some_and(Value::is_object);
    let tool = fields.object("tool");
    if !is_mcp || !is_given {
        return None;
    }
    let problems = std::mem::take(&mut fields.problems);
    let mut inner = Fields { path: member(&fields.path, "tool"), object: &tool, problems };
    let (name, argument) = (inner.required_text("name"), inner.required_text("argument"));
    fields.problems = inner.problems;
    Some(Tool { name: name?, argument: argument? })
}

/// Reads `template`. It is a problem if `custom` has none, and if any other form has one. Both return `None`. A
/// template with a problem of its own is returned all the same.
fn read_template(fields: &mut Fields<'_>, format: RequestFormat) -> Option<Template> {
    let is_custom = format == RequestFormat::Custom;
    match (is_custom, fields.value("template").cloned()) {
        (true, Some(template)) => {
            Some(Template::read(&template, &member(&fields.path, "template"), &mut fields.problems))
        }
        (true, None) => {
            fields.problem("template", "is missing: custom needs the body's JSON template");
            None
        }
        (false, Some(_)) => {
            fields.problem("template", "is for custom only");
            None
        }
        (false, None) => None,
    }
}

/// Reads `headers`, sorted by their names as the definition spells them, and returns the names in lower case. A name is
/// a problem if it is no header name, is reserved, or is the header of `auth`'s secret. A value is a problem if it is
/// no string of visible ASCII characters and spaces. A header with a problem is left out. Two spellings of one name are
/// both kept, and a request sends the last one. Without `headers`, or if they are no object, the list is empty. The
/// latter is a problem.
fn read_headers(fields: &mut Fields<'_>, auth: Option<&AgentAuth>) -> Vec<(String, String)> {
    let secret = match auth {
        Some(AgentAuth::Secret { header, .. }) => Some(header.as_str()),
        _ => None,
    };
    let mut headers = Vec::new();
    for (name, value) in fields.object("headers") {
        let lower = name.to_ascii_lowercase();
        let path = member(&member(&fields.path, "headers"), &name);
        let text = value.as_str().filter(|text| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        if !is_token(&lower) || is_reserved(&lower) || secret == Some(&lower) {
            let problem = "must be the name of a header that the function does not set itself";
            push(&mut fields.problems, format!("{path}: {problem}"));
        } else if let Some(text) = text {
            headers.push((lower, text.to_owned()));
        } else {
            push(&mut fields.problems, format!("{path}: must be a string of visible ASCII characters"));
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(definition: Value) -> Result<AgentDefinition, Vec<String>> {
        let mut problems = Vec::new();
        let read = AgentDefinition::read("AGENTS", "a", &definition, Defaults::default(), &mut problems);
        assert_eq!(read.is_some(), problems.is_empty());
        read.ok_or(problems)
    }

    #[test]
    fn a_definition_needs_only_an_address() {
        let definition = read(json!({"url": "https://a.example.com"})).unwrap();
        assert_eq!(definition.format, RequestFormat::Invocations);
        assert_eq!(definition.auth, AgentAuth::Cognito);
        assert_eq!(definition.url.as_str(), "https://a.example.com/invocations");
        assert_eq!(definition.hash.len(), 64);
    }

    #[test]
    fn every_member_is_read_and_is_part_of_the_hash() {
        let base = json!({"url": "https://a.example.com/x", "protocol": "ag-ui"});
        let mut hashes = vec![read(base.clone()).unwrap().hash];
        for (name, value) in [
            ("url", json!("https://a.example.com/y")),
            ("protocol", json!("a2a")),
            ("protocol", json!("a2a-1.0")),
            ("auth", json!("iam")),
            ("auth", json!({"secret": {"header": "X-Api-Key", "parameter": "/agents/key"}})),
            ("auth", json!({"secret": {"header": "Authorization", "parameter": "/agents/key"}})),
            ("model", json!("m")),
            ("name", json!("n")),
            ("headers", json!({"X-Tenant": "t"})),
            ("acceptFinishReasons", json!(["max_tokens"])),
        ] {
            let mut changed = base.clone();
            changed[name] = value;
            hashes.push(read(changed).unwrap().hash);
        }
        let mut tool = json!({"url": "https://a.example.com/x", "protocol": "mcp"});
        tool["tool"] = json!({"name": "run", "argument": "prompt"});
        let definition = read(tool).unwrap();
        assert_eq!(definition.tool, Some(Tool { name: "run".to_owned(), argument: "prompt".to_owned() }));
        hashes.push(definition.hash);
        let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_eq!(read(base).unwrap().hash, hashes[0]);
    }

    #[test]
    fn every_problem_is_named_with_its_agent_and_without_its_value() {
        for (definition, expected) in [
            (json!("https://a.example.com"), &["AGENTS.a: must be an object, not a string"][..]),
            (
                json!({"protocol": "soap", "auth": "basic", "uri": "https://hunter2"}),
                &[
                    "AGENTS.a.uri: is none of",
                    "AGENTS.a.protocol: must be one of invocations, ag-ui, a2a, a2a-1.0, mcp",
                    "AGENTS.a.auth: must be",
                    "AGENTS.a.url: is missing",
                ],
            ),
            (json!({"url": "http://hunter2.example.com"}), &["AGENTS.a.url: must be https (http only for loopback)"]),
            (json!({"url": "https://u:hunter2@a.example.com"}), &["AGENTS.a.url: must not carry a user name"]),
            (
                json!({"url": "https://a.example.com", "protocol": "mcp", "template": {}}),
                &["AGENTS.a.tool: is missing", "AGENTS.a.template: is for custom only"],
            ),
            (
                json!({"url": "https://a.example.com", "protocol": "mcp", "tool": {"name": "", "argument": 1}}),
                &["AGENTS.a.tool.name: must not be empty", "AGENTS.a.tool.argument: must be a string"],
            ),
            (
                json!({"url": "https://a.example.com", "protocol": "mcp", "tool": {}}),
                &["AGENTS.a.tool.name: is missing", "AGENTS.a.tool.argument: is missing"],
            ),
            (
                json!({"url": "https://a.example.com", "protocol": "mcp", "tool": []}),
                &["AGENTS.a.tool: must be an object"],
            ),
            (
                json!({"url": "https://a.example.com", "protocol": "custom", "tool": {"name": "x", "argument": "y"}}),
                &["AGENTS.a.tool: is for mcp only", "AGENTS.a.template: is missing"],
            ),
            (
                json!({"url": "https://a.example.com", "headers": {"Host": "x", "X-Amz-Date": "x", "a b": "x", "ok": 1}}),
                &[
                    "AGENTS.a.headers.Host",
                    "AGENTS.a.headers.X-Amz-Date",
                    "AGENTS.a.headers[\"a b\"]",
                    "AGENTS.a.headers.ok",
                ],
            ),
            (
                json!({"url": "https://a.example.com", "auth": {"secret": {"header": "Host", "parameter": "a b"}}}),
                &["AGENTS.a.auth.secret.header: must be", "AGENTS.a.auth.secret.parameter: must be"],
            ),
            (
                json!({"url": "https://a.example.com", "acceptFinishReasons": ["max_tokens", "working", "Limit"]}),
                &["AGENTS.a.acceptFinishReasons[1]: must be one of", "AGENTS.a.acceptFinishReasons[2]: must be one of"],
            ),
        ] {
            let problems = read(definition.clone()).unwrap_err();
            assert_eq!(problems.len(), expected.len(), "{problems:#?}");
            for problem in &problems {
                assert!(expected.iter().any(|expected| problem.starts_with(expected)), "{problem} of {definition}");
                assert!(!problem.contains("hunter2"), "{problem}");
            }
        }
    }
}
