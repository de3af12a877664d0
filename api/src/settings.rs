//! The settings. They are read once from the environment, and every problem is reported together.

use agent_trigger::domain::platform::Platform;
use serde_json::{Value, json};

use crate::hooks::{event::SOURCE, settings::is_path};

/// The settings that the environment gives.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `TRIGGERS_TABLE_NAME`.
    pub table_name: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_CA_BUNDLE`: a PEM file of roots to trust besides Mozilla's.
    pub ca_bundle: Option<String>,
    /// `RUN_FUNCTION_ARN`: the function that runs agents. Schedules invoke it, and so does "run now".
    pub run_function: String,
    /// `SCHEDULE_GROUP_NAME`.
    pub schedule_group: String,
    /// `SCHEDULER_ROLE_ARN`: the role by which schedules invoke the function.
    pub scheduler_role: String,
    /// `SCHEDULE_DLQ_ARN`: the queue for fires that could not be delivered.
    pub schedule_dead_letters: Option<String>,
    /// `RUN_CLIENT_ID`: the app client of the run function, whose tokens agents receive. They open nothing here.
    pub run_client_id: Option<String>,
    /// `MACHINE_TOKENS`: true if tokens without a user may act for the user whom they name.
    pub machine_tokens: bool,
    /// `MIN_SCHEDULE_MINUTES`: the least time between two runs of a schedule.
    pub min_schedule_minutes: u32,
    /// `TRIGGER_LIMIT`: the most triggers of a user.
    pub trigger_limit: u32,
    /// `AGENT_ON_AGENTCORE`: decides whether session ids must have the length that AgentCore requires.
    pub platform: Platform,
    /// `EVENT_SOURCES`: a JSON array of `{id, name, description, icon?}`, the sources that triggers may subscribe to.
    pub event_sources: Vec<Value>,
    /// `LOGIN_DOMAIN` and `LOGIN_CLIENT_ID`: the place where users of the page log in.
    pub login: Option<Login>,
    /// The hooks surface, if it is deployed.
    pub hooks: Option<HookSurface>,
    /// The local port, if this does not run on Lambda.
    pub local: Option<Local>,
}

/// The hooks surface as the manage surface knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSurface {
    /// `HOOKS_URL`: the address at which the world reaches it, without a slash at its end.
    pub url: String,
    /// `HOOK_SECRET_PATH`: the path of the SSM parameters that hold the secrets.
    pub secret_path: String,
    /// `HOOK_FUNCTION_ARN`: its function, for test deliveries.
    pub function: String,
}

/// The login of the page: Cognito's hosted pages, and the public client for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The host, without `https://`.
    pub domain: String,
    /// The app client.
    pub client_id: String,
}

/// The settings of a local port.
#[derive(Clone)]
pub struct Local {
    /// `LOCAL_PORT`: the port of 127.0.0.1 to listen on; 0 means any.
    pub port: u16,
    /// `LOCAL_USER_ID`: the user who is served.
    pub user_id: String,
    /// `LOCAL_KEY`: the bearer token that requests must carry.
    pub key: String,
}

impl std::fmt::Debug for Local {
    /// Writes the port, and neither the user nor the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("port", &self.port).finish_non_exhaustive()
    }
}

/// The error that names every missing or malformed setting.
#[derive(Debug, thiserror::Error)]
#[error("invalid settings: {}", problems.join("; "))]
pub struct SettingsError {
    /// One sentence for each problem. Each names its variable.
    pub problems: Vec<String>,
}

/// The shortest key of a local port, in bytes. A web page could guess a shorter one.
const SHORTEST_KEY: usize = 16;

impl Settings {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// The error names every variable that is missing or malformed.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads settings through `lookup`. An empty or blank value counts as unset.
    ///
    /// # Errors
    /// The error names every variable that is missing or malformed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let settings = Self {
            table_name: reader.required("TRIGGERS_TABLE_NAME"),
            region: reader.required("AWS_REGION"),
            ca_bundle: reader.optional("AWS_CA_BUNDLE"),
            run_function: reader.required("RUN_FUNCTION_ARN"),
            schedule_group: reader.required("SCHEDULE_GROUP_NAME"),
            scheduler_role: reader.required("SCHEDULER_ROLE_ARN"),
            schedule_dead_letters: reader.optional("SCHEDULE_DLQ_ARN"),
            run_client_id: reader.optional("RUN_CLIENT_ID"),
            machine_tokens: reader.flag("MACHINE_TOKENS"),
            min_schedule_minutes: reader.whole("MIN_SCHEDULE_MINUTES", 1, 1..=1440),
            trigger_limit: reader.whole("TRIGGER_LIMIT", 100, 1..=1000),
            platform: Platform::of(reader.flag("AGENT_ON_AGENTCORE")),
            event_sources: reader.event_sources(),
            login: reader
                .optional("LOGIN_DOMAIN")
                .map(|domain| Login { domain, client_id: reader.required("LOGIN_CLIENT_ID") }),
            hooks: reader.hooks(),
            local: reader.local(),
        };
        let settings = settings.with_webhook_source();
        if reader.problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems: reader.problems }) }
    }

    /// Adds the source of webhooks to the event sources, if there are webhooks and it is not listed.
    fn with_webhook_source(mut self) -> Self {
        let is_listed = self.event_sources.iter().any(|source| source["id"] == SOURCE);
        if self.hooks.is_some() && !is_listed {
            self.event_sources.push(json!({"id": SOURCE, "name": "Webhook", "icon": "link",
                "description": "What others send to an address of this trigger's own"}));
        }
        self
    }
}

/// A reader of settings, which collects the problems.
pub(crate) struct Reader<F> {
    pub(crate) lookup: F,
    pub(crate) problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// Returns a variable without the blanks around it, or `None` if it is unset or blank.
    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Returns a variable that must be set. If it is not, this is a problem, and the text is empty.
    pub(crate) fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is not set"));
            String::new()
        })
    }

    /// Returns true for `true` and false for `false`, in any case, or if the variable is unset. Anything else is a
    /// problem, and false.
    fn flag(&mut self, name: &str) -> bool {
        match self.optional(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.problems.push(format!("{name} must be true or false"));
                false
            }
        }
    }

    /// Returns a whole number within `allowed`, or `default` if the variable is unset. Anything else is a problem, and
    /// `default`.
    fn whole(&mut self, name: &str, default: u32, allowed: std::ops::RangeInclusive<u32>) -> u32 {
        let Some(value) = self.optional(name) else { return default };
        value.parse().ok().filter(|number| allowed.contains(number)).unwrap_or_else(|| {
            self.problems.push(format!("{name} must be a whole number from {} to {}", allowed.start(), allowed.end()));
            default
        })
    }

    /// Reads the event sources. The ends of a user's own executions are always one of them, as the last one unless the
    /// setting names it itself. A setting that is no JSON array of objects with an id is a problem, and left out.
    fn event_sources(&mut self) -> Vec<Value> {
        let own = json!({"id": "agent-trigger", "name": "Executions", "icon": "link",
            "description": "The end of another execution of yours"});
        let mut sources = vec![own];
        if let Some(text) = self.optional("EVENT_SOURCES") {
            let is_source = |source: &Value| source["id"].as_str().is_some_and(|id| !id.is_empty());
            match serde_json::from_str::<Vec<Value>>(&text) {
                Ok(given) if given.iter().all(is_source) => {
                    sources.retain(|source| given.iter().all(|given| given["id"] != source["id"]));
                    sources.splice(0..0, given);
                }
                _ => self.problems.push("EVENT_SOURCES must be a JSON array of objects with an id".to_owned()),
            }
        }
        sources
    }

    /// Reads the settings of the hooks surface, or returns `None` without `HOOKS_URL`. With it, the others must be set.
    fn hooks(&mut self) -> Option<HookSurface> {
        let url = self.optional("HOOKS_URL")?;
        let url = url.trim_end_matches('/').to_owned();
        let (secret_path, function) = (self.required("HOOK_SECRET_PATH"), self.required("HOOK_FUNCTION_ARN"));
        if !secret_path.is_empty() && !is_path(&secret_path) {
            self.problems.push("HOOK_SECRET_PATH must begin and end with a slash".to_owned());
        }
        Some(HookSurface { url, secret_path, function })
    }

    /// Returns a port of this machine, or `None` if the variable is unset. Anything but a port's number is a problem,
    /// and `None`.
    pub(crate) fn port(&mut self, name: &str) -> Option<u16> {
        let port = self.optional(name)?;
        let port = port.parse().ok();
        if port.is_none() {
            self.problems.push(format!("{name} must be a port number"));
        }
        port
    }

    /// Reads the settings of a local port, or returns `None` without `LOCAL_PORT`. With it, a user and a key of at
    /// least 16 bytes must be set.
    fn local(&mut self) -> Option<Local> {
        let port = self.port("LOCAL_PORT")?;
        let (user_id, key) = (self.required("LOCAL_USER_ID"), self.required("LOCAL_KEY"));
        if key.len() < SHORTEST_KEY {
            self.problems.push(format!("LOCAL_KEY must have at least {SHORTEST_KEY} characters"));
        }
        Some(Local { port, user_id, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let base = [
            ("TRIGGERS_TABLE_NAME", "t"),
            ("AWS_REGION", "r"),
            ("RUN_FUNCTION_ARN", "f"),
            ("SCHEDULE_GROUP_NAME", "g"),
            ("SCHEDULER_ROLE_ARN", "role"),
        ];
        Settings::from_lookup(|name| {
            let found = changes.iter().chain(&base).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let wrong = [
            ("TRIGGERS_TABLE_NAME", ""),
            ("MACHINE_TOKENS", "yes"),
            ("TRIGGER_LIMIT", "0"),
            ("EVENT_SOURCES", "[{}]"),
            ("LOCAL_PORT", "80"),
            ("LOCAL_USER_ID", "u"),
            ("LOCAL_KEY", "short"),
        ];
        let problems = read(&wrong).unwrap_err().problems;
        let names: Vec<_> = problems.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["TRIGGERS_TABLE_NAME", "MACHINE_TOKENS", "TRIGGER_LIMIT", "EVENT_SOURCES", "LOCAL_KEY"]);
    }

    #[test]
    fn own_executions_are_always_a_source() {
        let ids = |settings: Settings| {
            settings.event_sources.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(read(&[]).unwrap()), ["agent-trigger"]);
        let given = r#"[{"id": "aws-s3", "name": "Uploads"}, {"id": "agent-trigger", "name": "Mine"}]"#;
        let settings = read(&[("EVENT_SOURCES", given)]).unwrap();
        assert_eq!(settings.event_sources[1]["name"], "Mine");
        assert_eq!(ids(settings), ["aws-s3", "agent-trigger"]);
    }
}
