//! The command line, and the settings it makes.

use std::path::PathBuf;

use standins::Stack;
use standins::stack::Env;

const HELP: &str = "\
Builds the function and runs it on this machine, against stand-ins for Lambda, Cognito, DynamoDB and an agent, which keep
nothing between runs. The function's log is .local/function.log.

usage: cargo run --example local -- [--agent-url URL] [EVENT.json ...]
       cargo run --example local -- --serve [--agent-url URL]

Without events it sends events/scheduled.json, events/agent-fails.json and the first one again, and exits with 0 if one
completed, one failed as the agent said and one was a duplicate. With events it sends those, one after another, and exits
with 0 if all of them succeeded.

  --serve          start the stand-ins on ports 9001 to 9003, write .local/env for `cargo lambda watch` and wait for Ctrl-C
  --agent-url URL  call this agent (https, or http on loopback) instead of the stand-in; without events it gets the first
                   one, and that once more. Its tokens come from the Cognito stand-in, unless
                   COGNITO_USER_POOL_ID and COGNITO_CLIENT_ID are set: then the COGNITO_* and AWS_* settings are used
  -h, --help       this text
";

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) events: Vec<PathBuf>,
    pub(crate) serve: bool,
    pub(crate) agent_url: Option<String>,
}

impl Options {
    /// Reads the arguments; `None` if only help was wanted.
    pub(crate) fn from_args() -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = lexopt::Parser::from_env();
        let mut read = || -> Result<bool, lexopt::Error> {
            use lexopt::prelude::{Long, Short, Value, ValueExt};
            while let Some(arg) = args.next()? {
                match arg {
                    Long("serve") => options.serve = true,
                    Long("agent-url") => options.agent_url = Some(args.value()?.string()?),
                    Short('h') | Long("help") => return Ok(false),
                    Value(path) => options.events.push(path.into()),
                    _ => return Err(arg.unexpected()),
                }
            }
            Ok(true)
        };
        match read() {
            Ok(true) if options.serve && !options.events.is_empty() => {
                Err("--serve takes no events: it waits for those of `cargo lambda invoke`".to_owned())
            }
            Ok(true) => Ok(Some(options)),
            Ok(false) => {
                crate::report::say(HELP.trim_end());
                Ok(None)
            }
            Err(e) => Err(format!("{e}; --help tells what there is")),
        }
    }

    /// The function's environment: the stand-ins', or a real agent's with the Cognito that issues tokens for it.
    pub(crate) fn env(&self, stack: &Stack) -> Env {
        let mut env = stack.env();
        let Some(url) = &self.agent_url else { return env };
        env.insert("AGENT_API_URL".to_owned(), url.clone());
        let real_cognito = ["COGNITO_USER_POOL_ID", "COGNITO_CLIENT_ID"].iter().all(|n| std::env::var_os(n).is_some());
        if real_cognito {
            env.retain(|name, _| !name.starts_with("COGNITO_") && !name.contains("_COGNITO_"));
            // DynamoDB is embedded and takes any credentials, Cognito needs those that are at hand.
            let theirs = |name: &str| name.starts_with("COGNITO_") || name.starts_with("AWS_") || name == "HOME";
            let not_theirs =
                |name: &str| name.starts_with("AWS_LAMBDA_") || name.starts_with("AWS_ENDPOINT_URL_DYNAMODB");
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] {
                env.remove(name);
            }
            env.extend(std::env::vars().filter(|(name, _)| theirs(name) && !not_theirs(name)));
        }
        env
    }
}
