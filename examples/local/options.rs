//! The command line and the settings that it makes.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use standins::Stack;
use standins::stack::Env;

use crate::programs::{Started, beside};

/// The help. {run} is how this program was started, {pad} as many spaces, {what} what it does, and {reader} who else reads
/// .local/env: in a release nothing is built.
const HELP: &str = r#"{what} on this machine, against stand-ins for Lambda, Cognito, DynamoDB, the pipe from
its stream to an event bus, and agents. The stand-ins keep nothing between runs. The function's log is
.local/function.log; each run adds to it.

usage: {run} [--triggers FILE] [--agent-url URL] [--protocol NAME] [--auth HOW]
       {pad} [--definition JSON] [--records FILE] [EVENT.json ...]
       {run} --serve [--triggers FILE] [--agent-url URL] [--protocol NAME] [--auth HOW]

Without events it sends events/scheduled.json, events/agent-fails.json and the first one again. It exits with 0 if one
completed, one failed as the agent said and one was a duplicate. With events it sends those, each after everything that
the one before it started has ended. It then exits with 0 if every execution completed or was skipped, or failed because
the stand-in for an agent was told to fail. An agent's text is shown as it arrives. At the end you read what was
recognised in each answer, what was not, and why the run ended as it did.

An event that is not a scheduled fire runs the triggers that are stored in the table and subscribed to it:

  events/s3-object-created.json    four triggers: two complete, one fails, one filters this file out
  events/custom-order-placed.json  a chain: each trigger is subscribed to the end of the one before
  events/run-trigger.json          runs a stored trigger now
  events/replay-execution.json     runs the failed execution again, after events/agent-fails.json

Agents that speak other protocols, and one that stops short:

  events/agent-ag-ui.json, agent-a2a.json, agent-mcp.json, agent-openai-responses.json, agent-asks.json

Agents that work on after their invocations, hours in seconds (docs/long-runs.md):

  events/agent-detached.json            reports four times, and then that it has completed
  events/agent-detached-dies.json       acknowledges and dies in silence: ReportOverdue
  events/agent-detached-cancelled.json  is cancelled, hears of it with its next report, and stops

  --triggers FILE  store these triggers, or the one, instead of those of events/triggers.json; events/loop-triggers.json
                   with events/custom-order-placed.json is an endless chain, which CHAIN_DEPTH_LIMIT stops; that is
                   taken from the environment
  --serve          start everything and print one link: the control plane's page at port 9010 (LOCAL_PORT), with
                   schedules that fire. The stand-ins listen on ports 9001 to 9004, and agents of detached runs report
                   to port 9012; .local/env tells {reader} where. Ends with Ctrl-C
  --agent-url URL  call this agent (https, or http on loopback) instead of the stand-in; without events, the first event
                   is sent twice. An agent on this machine that works on after its invocation reports to this run. The
                   tokens come from the Cognito stand-in, unless COGNITO_USER_POOL_ID and COGNITO_CLIENT_ID are set;
                   then the COGNITO_* and AWS_* settings are used
  --protocol NAME  how the agent is called and read (AGENT_PROTOCOL): invocations, ag-ui, a2a, a2a-1.0, mcp,
                   openai-responses, openai-chat, langgraph, adk or custom. The stand-in speaks the first six. AGENTS
                   and the AGENT_* settings of the environment reach the function too
  --auth HOW       what proves to the agent who calls (AGENT_AUTH): cognito, none, iam, or a secret (docs/agents.md),
                   as JSON; default: cognito
  --definition JSON
                   further members of the agent's definition in AGENTS, as docs/agents.md lists them, for the agents
                   that the events name: '{"tool": {"name": "ask", "argument": "question"}}' for mcp, a template for
                   custom
  --records FILE   write the stored executions to this file, as a JSON array
  -h, --help       this text
"#;

/// The options as given.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) events: Vec<PathBuf>,
    pub(crate) serve: bool,
    pub(crate) triggers: Option<PathBuf>,
    pub(crate) agent_url: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) auth: Option<String>,
    pub(crate) definition: Option<Map<String, Value>>,
    pub(crate) records: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments. Returns `None` if only help is wanted.
    pub(crate) fn from_args() -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = lexopt::Parser::from_env();
        let mut read = || -> Result<bool, lexopt::Error> {
            use lexopt::prelude::{Long, Short, Value, ValueExt};
            while let Some(arg) = args.next()? {
                match arg {
                    Long("serve") => options.serve = true,
                    Long("triggers") => options.triggers = Some(args.value()?.into()),
                    Long("agent-url") => options.agent_url = Some(args.value()?.string()?),
                    Long("protocol") => options.protocol = Some(args.value()?.string()?),
                    Long("auth") => options.auth = Some(args.value()?.string()?),
                    Long("definition") => {
                        options.definition = Some(args.value()?.parse_with(|json| serde_json::from_str(json))?)
                    }
                    Long("records") => options.records = Some(args.value()?.into()),
                    Short('h') | Long("help") => return Ok(false),
                    Value(path) => options.events.push(path.into()),
                    _ => return Err(arg.unexpected()),
                }
            }
            Ok(true)
        };
        let read = read();
        if let Some(name) = options.said_twice() {
            return Err(match name {
                "url" => "--definition takes no url: --agent-url gives it".to_owned(),
                name => format!("--definition and --{name} both say {name}: leave one of them out"),
            });
        }
        // The function would name `AGENT_API_URL`, which nobody has set here.
        if let Some(url) = options.agent_url.as_deref().filter(|url| !is_address(url)) {
            return Err(format!(
                "--agent-url {url}: it must begin with https://, or http:// for this machine, or be an ARN"
            ));
        }
        match read {
            Ok(true) if options.serve && options.definition.is_some() => {
                Err("--definition is for the agents of events, and --serve takes no events".to_owned())
            }
            Ok(true) if options.serve && !options.events.is_empty() => {
                let otherwise = match Started::find() {
                    Started::Release(path) => format!("run a trigger with {}", beside(&path, "triggerctl run TRIGGER")),
                    Started::Repository => "send them with `cargo lambda invoke`".to_owned(),
                };
                Err(format!("--serve takes no events: open its page, or {otherwise}"))
            }
            Ok(true) => Ok(Some(options)),
            Ok(false) => {
                crate::report::say(help(&Started::find()).trim_end());
                Ok(None)
            }
            Err(e) => Err(format!("{e}; --help tells what there is")),
        }
    }

    /// Returns a member of `--definition` that the function would never see, because an option says the same.
    fn said_twice(&self) -> Option<&'static str> {
        let definition = self.definition.as_ref()?;
        let others = [("url", true), ("protocol", self.protocol.is_some()), ("auth", self.auth.is_some())];
        others.into_iter().find(|(name, is_given)| *is_given && definition.contains_key(*name)).map(|(name, _)| name)
    }

    /// Returns the members of the agents' definition that the protocol alone does not settle. The stand-in for an MCP
    /// server has one tool.
    pub(crate) fn definition(&self) -> Option<Map<String, Value>> {
        let is_stand_in_for_mcp = self.agent_url.is_none() && self.protocol.as_deref() == Some("mcp");
        let tool = || Map::from_iter([("tool".to_owned(), json!({"name": "ask", "argument": "question"}))]);
        self.definition.clone().or_else(|| is_stand_in_for_mcp.then(tool))
    }

    /// Returns `AGENTS`: these agents by id, all at `url`. `None` if `AGENT_API_URL` says all there is to say.
    pub(crate) fn agents<'a>(&self, url: &str, ids: impl Iterator<Item = &'a str>) -> Option<String> {
        let mut definition = self.definition()?;
        for (name, value) in
            [("url", Some(url)), ("protocol", self.protocol.as_deref()), ("auth", self.auth.as_deref())]
        {
            definition.extend(value.map(|value| (name.to_owned(), Value::from(value))));
        }
        let agents: Map<_, _> = ids.map(|id| (id.to_owned(), Value::from(definition.clone()))).collect();
        Some(Value::from(agents).to_string())
    }

    /// Returns the function's environment: that of the stand-ins, or of a real agent with the Cognito that issues
    /// tokens for it.
    pub(crate) fn env(&self, stack: &Stack) -> Env {
        let mut env = stack.env();
        env.extend(std::env::vars().filter(|(name, _)| is_agents(name)));
        let protocol = self.protocol.as_ref().filter(|_| self.definition().is_none());
        for (name, value) in [("AGENT_PROTOCOL", protocol), ("AGENT_AUTH", self.auth.as_ref())] {
            env.extend(value.map(|value| (name.to_owned(), value.clone())));
        }
        if let Ok(limit) = std::env::var("CHAIN_DEPTH_LIMIT") {
            env.insert("CHAIN_DEPTH_LIMIT".to_owned(), limit);
        }
        let Some(url) = &self.agent_url else {
            // The stand-in answers at this path alone, whatever the protocol's usual one is.
            env.entry("AGENT_API_URL".to_owned()).and_modify(|url| url.push_str("/invocations"));
            return env;
        };
        env.insert("AGENT_API_URL".to_owned(), url.clone());
        let real_cognito = ["COGNITO_USER_POOL_ID", "COGNITO_CLIENT_ID"].iter().all(|n| std::env::var_os(n).is_some());
        if real_cognito {
            env.retain(|name, _| !name.starts_with("COGNITO_") && !name.contains("_COGNITO_"));
            // DynamoDB and Lambda are stand-ins here and accept any credentials. A real Cognito needs the caller's own.
            let theirs = |name: &str| name.starts_with("COGNITO_") || name.starts_with("AWS_") || name == "HOME";
            let not_theirs = |name: &str| {
                let ours = ["AWS_LAMBDA_", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_LAMBDA"];
                ours.iter().any(|prefix| name.starts_with(prefix))
            };
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] {
                env.remove(name);
            }
            env.extend(std::env::vars().filter(|(name, _)| theirs(name) && !not_theirs(name)));
        }
        env
    }
}

/// Returns the help, which names this program as it was started.
fn help(started: &Started) -> String {
    let (run, what, reader) = match started {
        Started::Release(path) => (path.as_str(), "Runs the function", "triggerctl"),
        Started::Repository => {
            ("cargo run --example local --", "Builds the function and runs it", "triggerctl and `cargo lambda watch`")
        }
    };
    let pad = " ".repeat(run.chars().count());
    HELP.replace("{run}", run).replace("{pad}", &pad).replace("{what}", what).replace("{reader}", reader)
}

/// Returns true for a variable that says something of agents, such as the tool of an MCP server. `AGENT_TRIGGER_TOKEN` opens
/// a control plane, and the function has no use for it.
fn is_agents(name: &str) -> bool {
    name.starts_with("AGENT") && !name.starts_with("AGENT_TRIGGER_")
}

/// Returns true if a text is an address of an agent as far as its begin says: a web address or an ARN.
fn is_address(text: &str) -> bool {
    ["https://", "http://", "arn:"].iter().any(|begin| text.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_the_program_as_it_was_started() {
        let release = help(&Started::Release("./agent-trigger-local".to_owned()));
        assert!(release.contains("usage: ./agent-trigger-local [--triggers"), "{release}");
        assert!(release.contains("\n                             [--definition JSON]"), "{release}");
        assert!(!release.contains("cargo") && !release.contains("Builds"), "{release}");
        let repository = help(&Started::Repository);
        assert!(repository.contains("       cargo run --example local -- --serve [--triggers"), "{repository}");
        for help in [release, repository] {
            // What stands in braces is JSON.
            assert!(["{run}", "{pad}", "{what}", "{reader}"].iter().all(|name| !help.contains(name)), "{help}");
            assert!(help.lines().all(|line| line.len() <= 120), "{help}");
        }
    }

    #[test]
    fn a_definition_says_nothing_that_an_option_says_too() {
        for (protocol, auth, definition, twice) in [
            (None, None, json!({"auth": "none", "protocol": "mcp"}), None),
            (None, Some("none"), json!({"auth": {"secret": {}}}), Some("auth")),
            (None, Some("none"), json!({"tool": {}}), None),
            (Some("mcp"), None, json!({"protocol": "a2a"}), Some("protocol")),
            (None, None, json!({"url": "http://127.0.0.1:1"}), Some("url")),
        ] {
            let options = Options {
                protocol: protocol.map(str::to_owned),
                auth: auth.map(str::to_owned),
                definition: definition.as_object().cloned(),
                ..Options::default()
            };
            assert_eq!(options.said_twice(), twice, "{definition}");
        }
    }

    #[test]
    fn an_address_says_how_it_is_reached() {
        for (address, is) in [
            ("https://agent.example.com", true),
            ("http://127.0.0.1:8080/invocations", true),
            ("arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/mine", true),
            ("localhost:8080", false),
            ("agent.example.com/invocations", false),
            ("", false),
        ] {
            assert_eq!(is_address(address), is, "{address}");
        }
    }

    #[test]
    fn the_function_gets_what_is_said_of_agents_and_no_token() {
        for name in ["AGENTS", "AGENT_API_URL", "AGENT_PROTOCOL"] {
            assert!(is_agents(name), "{name}");
        }
        for name in ["AGENT_TRIGGER_TOKEN", "AGENT_TRIGGER_API", "AWS_REGION", "MY_AGENT"] {
            assert!(!is_agents(name), "{name}");
        }
    }
}
