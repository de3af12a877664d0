//! The settings. They are read once from the environment, and every problem is reported together.

mod agents;

use std::{collections::BTreeMap, fmt, time::Duration};

use url::Url;

use crate::domain::{
    agent_definition::{AgentDefinition, AgentSource, Defaults},
    endpoint::web_url,
};

/// A value that must never reach a log. Its `Debug` output shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value itself. The caller must keep it out of logs and messages of errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    /// Writes `[secret]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The settings that the function's environment gives it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The agent at `AGENT_API_URL`, called as `AGENT_PROTOCOL` and `AGENT_AUTH` say. It serves every agent id that
    /// `agents` does not name.
    pub unnamed_agent: Option<AgentDefinition>,
    /// `AGENTS`: the agents by id.
    pub agents: AgentSource,
    /// True if the only agent is that at `AGENT_API_URL` and it is on Amazon Bedrock AgentCore. Then a session id that
    /// is too short for AgentCore is a fault of the event. With more agents, this is known only once one is called.
    pub is_agentcore: bool,
    /// `AGENTS_TABLE_NAME`: the table of agents by user and agent id. If set, an agent without a row is not called.
    pub agents_table: Option<String>,
    /// `SSM_PARAMETER_PREFIX`: the beginning of the parameters with the environments of MCP servers.
    pub parameter_prefix: Option<String>,
    /// `AWS_ENDPOINT_URL_BEDROCK_AGENTCORE`: replaces the host of AgentCore's data plane for an agent given by its ARN.
    pub agentcore_endpoint: Option<Url>,
    /// `AWS_ENDPOINT_URL_SSM`: replaces the address of Systems Manager.
    pub ssm_endpoint: Option<Url>,
    /// `AWS_ENDPOINT_URL_SFN`: the address of Step Functions, if it is not AWS's.
    pub step_functions_endpoint: Option<Url>,
    /// `COGNITO_USER_POOL_ID`. Empty if it is not set, which is possible only if no agent known at the start uses
    /// Cognito.
    pub user_pool_id: String,
    /// `COGNITO_CLIENT_ID`. Empty if it is not set, which is possible only if no agent known at the start uses Cognito.
    pub client_id: String,
    /// `COGNITO_CLIENT_SECRET`. If absent, it is discovered.
    pub client_secret: Option<Secret>,
    /// `COGNITO_DOMAIN` as the token endpoint's URL. If absent, it is discovered.
    pub token_endpoint: Option<Url>,
    /// `COGNITO_SCOPE`: the scopes, separated by spaces. If absent, the token has all scopes that the client may have.
    pub scope: Option<String>,
    /// `TRIGGERS_TABLE_NAME`.
    pub table_name: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `EXECUTION_TTL_DAYS`: the time for which a record is kept, from its start.
    pub execution_ttl: Duration,
    /// `AGENT_IDLE_TIMEOUT_SECONDS`: the longest time that the agent's stream may be silent. If absent, there is no
    /// limit.
    pub agent_idle_timeout: Option<Duration>,
    /// `AWS_CA_BUNDLE`: a PEM file of roots to trust besides Mozilla's.
    pub ca_bundle: Option<String>,
    /// `CHAIN_DEPTH_LIMIT`: the number of executions that may follow the first one in a chain of triggers.
    pub chain_depth_limit: u32,
    /// `SETTLE_QUEUE_URL`: the settle queue, which carries the timers of detached runs.
    pub settle_queue_url: Option<Url>,
    /// `REPORT_URL`: the address to which agents of detached runs report.
    pub report_url: Option<Url>,
    /// `REPORT_BUS_NAME`: the event bus over which they report.
    pub report_bus_name: Option<String>,
    /// `LEASE_SECONDS`: the time for which an attempt owns its execution without a heartbeat.
    pub lease: Duration,
    /// `METRICS_SERVICE`, or else `AWS_LAMBDA_FUNCTION_NAME`: the dimension under which metrics are kept. The functions
    /// of a stack are counted together.
    pub function_name: String,
    /// `METRICS_BY_TRIGGER`: true if metrics are also kept for each trigger.
    pub metrics_by_trigger: bool,
    /// `AWS_LAMBDA_LOG_LEVEL`: Lambda drops log lines below this level.
    pub log_level: Option<String>,
}

/// The error that names every missing or malformed setting.
#[derive(Debug, thiserror::Error)]
#[error("invalid settings: {}", problems.join("; "))]
pub struct ConfigError {
    /// One sentence for each problem. Each names its variable.
    pub problems: Vec<String>,
}

const DAY: u64 = 24 * 60 * 60;

impl Config {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// The error names every variable that is missing or malformed.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads settings through `lookup`. Blanks around a value do not count. A blank value counts as unset, because a
    /// template's optional parameter arrives as an empty string. A problem in one setting does not keep the others from
    /// being checked.
    ///
    /// # Errors
    /// The error names every variable that is missing or malformed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut settings = Settings { lookup, problems: Vec::new() };
        let agentcore_endpoint = settings.endpoint("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE");
        let ssm_endpoint = settings.endpoint("AWS_ENDPOINT_URL_SSM");
        let step_functions_endpoint = settings.endpoint("AWS_ENDPOINT_URL_SFN");
        let defaults = Defaults { agentcore_endpoint: agentcore_endpoint.as_ref() };
        let agents = settings.agents(defaults);
        let unnamed_agent = settings.unnamed_agent(agents.is_some(), defaults);
        let (user_pool_id, client_id) = settings.machine_client(agents.is_some());
        let agents = agents.unwrap_or(AgentSource::Inline(BTreeMap::new()));
        let table_name = settings.required("TRIGGERS_TABLE_NAME", "the DynamoDB table's name");
        let region = settings.required("AWS_REGION", "the AWS region; Lambda sets it");
        let execution_ttl = settings.whole("EXECUTION_TTL_DAYS", 30, 1..=3650);
        let idle = settings.whole("AGENT_IDLE_TIMEOUT_SECONDS", 0, 0..=86_400);
        // A lease of 50 s, and the sixth of it by which clocks may differ, are over just before Lambda's first retry at
        // 60 s.
        let lease = settings.whole("LEASE_SECONDS", 30, 1..=50);
        let chain_depth_limit = settings.whole("CHAIN_DEPTH_LIMIT", 8, 0..=100);
        let metrics_by_trigger = settings.flag("METRICS_BY_TRIGGER");
        let settle_queue_url = settings.url("SETTLE_QUEUE_URL");
        let report_url = settings.url("REPORT_URL");
        let token_endpoint = settings
            .optional("COGNITO_DOMAIN")
            .and_then(|domain| settings.check("COGNITO_DOMAIN", token_endpoint(&domain)));
        let client_secret = settings.optional("COGNITO_CLIENT_SECRET").map(Secret);
        let scope = settings.optional("COGNITO_SCOPE");
        let ca_bundle = settings.optional("AWS_CA_BUNDLE");
        let service = settings.optional("METRICS_SERVICE");
        let function_name = service.or_else(|| settings.optional("AWS_LAMBDA_FUNCTION_NAME"));
        let log_level = settings.optional("AWS_LAMBDA_LOG_LEVEL");

        match (table_name, region) {
            (Some(table_name), Some(region)) if settings.problems.is_empty() => {
                Ok(Self {
                    is_agentcore: settings.optional("AGENTS").is_none()
                        && unnamed_agent.as_ref().is_some_and(|agent| agent.is_agentcore),
                    unnamed_agent,
                    agents,
                    agents_table: settings.optional("AGENTS_TABLE_NAME"),
                    parameter_prefix: settings.optional("SSM_PARAMETER_PREFIX"),
                    agentcore_endpoint,
                    ssm_endpoint,
                    step_functions_endpoint,
                    user_pool_id,
                    client_id,
                    client_secret,
                    token_endpoint,
                    scope,
                    table_name,
                    region,
                    execution_ttl: Duration::from_secs(execution_ttl * DAY),
                    agent_idle_timeout: (idle > 0).then(|| Duration::from_secs(idle)),
                    ca_bundle,
                    chain_depth_limit: u32::try_from(chain_depth_limit).unwrap_or(u32::MAX),
                    lease: Duration::from_secs(lease),
                    settle_queue_url,
                    report_url,
                    report_bus_name: settings.optional("REPORT_BUS_NAME"),
                    // Lambda sets it, and without it the function does not serve.
                    function_name: function_name.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned()),
                    metrics_by_trigger,
                    log_level,
                })
            }
            _ => Err(ConfigError { problems: settings.problems }),
        }
    }
}

/// Looks up variables and collects the problems found.
struct Settings<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Settings<F> {
    /// Returns a variable without the blanks around it. Returns `None` if it is unset or blank.
    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Returns a variable that must be set. If it is missing or blank, this is a problem, which tells its `meaning`,
    /// and `None`.
    fn required(&mut self, name: &str, meaning: &str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.problems.push(format!("{name} is not set: it must be {meaning}"));
        }
        value
    }

    /// Returns a whole number within `allowed`, or `default` if the variable is unset. Anything else is a problem, and
    /// `default`.
    fn whole(&mut self, name: &str, default: u64, allowed: std::ops::RangeInclusive<u64>) -> u64 {
        let Some(value) = self.optional(name) else { return default };
        value.parse().ok().filter(|number| allowed.contains(number)).unwrap_or_else(|| {
            let (low, high) = allowed.into_inner();
            self.problems.push(format!("{name} must be a whole number from {low} to {high}"));
            default
        })
    }

    /// Returns true for `true` and false for `false`, in any case, or if the variable is unset. Anything else is a
    /// problem, and false.
    fn flag(&mut self, name: &str) -> bool {
        let value = self.optional(name).map(|value| value.to_ascii_lowercase());
        match value.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.problems.push(format!("{name} must be true or false"));
                false
            }
        }
    }

    /// Reads an endpoint from its own variable, or from the one for all services, as the AWS SDKs do. It must be https,
    /// or http on this machine. Anything else is a problem of the variable that was read, and `None`. If both are
    /// unset, it is `None` without a problem.
    fn endpoint(&mut self, name: &str) -> Option<Url> {
        let (name, url) = match (self.optional(name), self.optional("AWS_ENDPOINT_URL")) {
            (Some(url), _) => (name, url),
            (None, url) => ("AWS_ENDPOINT_URL", url?),
        };
        self.check(name, web_url(&url))
    }

    /// Reads an optional URL. It must be https, or http on this machine. Anything else is a problem, and `None`.
    fn url(&mut self, name: &str) -> Option<Url> {
        let url = self.optional(name)?;
        self.check(name, web_url(&url))
    }

    /// Returns the value of `result`. An error becomes a problem under the variable's name, and `None`. It is named
    /// once, however many settings are read from the variable.
    fn check<T>(&mut self, name: &str, result: Result<T, &'static str>) -> Option<T> {
        let problem = match result {
            Ok(value) => return Some(value),
            Err(problem) => format!("{name} {problem}"),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        None
    }
}

/// Returns the token endpoint of a Cognito domain: its origin with the path `/oauth2/token`. The domain is given as a
/// URL, https or http on this machine, or as a bare host, which gets https. A path and a query are ignored.
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html>
///
/// # Errors
/// The error says what is wrong with the domain, as [`web_url`] does.
pub(crate) fn token_endpoint(domain: &str) -> Result<Url, &'static str> {
    let mut url = if domain.contains("://") { web_url(domain)? } else { web_url(&format!("https://{domain}"))? };
    url.set_path("/oauth2/token");
    url.set_query(None);
    Ok(url)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config(overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let good = [
            ("AGENT_API_URL", "https://agent.example.com/api"),
            ("COGNITO_USER_POOL_ID", "eu-west-1_abc"),
            ("COGNITO_CLIENT_ID", "client"),
            ("TRIGGERS_TABLE_NAME", "triggers"),
            ("AWS_REGION", "eu-west-1"),
        ];
        Config::from_lookup(|name| {
            let find = |list: &[(&str, &str)]| list.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            find(overrides).or_else(|| find(&good))
        })
    }

    #[test]
    fn what_is_optional_has_its_default() {
        let config = config(&[]).unwrap();
        assert_eq!(config.execution_ttl, Duration::from_secs(30 * DAY));
        assert_eq!(config.lease, Duration::from_secs(30));
        assert_eq!(config.agent_idle_timeout, None);
        assert_eq!(config.chain_depth_limit, 8);
        assert_eq!(config.token_endpoint, None);
        assert_eq!(config.client_secret, None);
        assert!(!config.metrics_by_trigger);
    }

    #[test]
    fn a_flag_is_true_or_false() {
        for (given, expected) in [("true", true), ("True", true), (" false ", false), ("FALSE", false), ("", false)] {
            assert_eq!(config(&[("METRICS_BY_TRIGGER", given)]).unwrap().metrics_by_trigger, expected, "{given:?}");
        }
        for nonsense in ["yes", "1", "0", "truely", "null"] {
            let error = config(&[("METRICS_BY_TRIGGER", nonsense)]).unwrap_err();
            assert_eq!(error.problems, ["METRICS_BY_TRIGGER must be true or false"], "{nonsense}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let error = Config::from_lookup(|name| match name {
            "AGENT_API_URL" => Some("http://agent.example.com".into()),
            "EXECUTION_TTL_DAYS" => Some("0".into()),
            "LEASE_SECONDS" => Some("thirty".into()),
            "AGENT_IDLE_TIMEOUT_SECONDS" => Some("-1".into()),
            "CHAIN_DEPTH_LIMIT" => Some("many".into()),
            "METRICS_BY_TRIGGER" => Some("some".into()),
            "COGNITO_DOMAIN" => Some("ftp://x".into()),
            "COGNITO_CLIENT_ID" => Some("  ".into()),
            _ => None,
        })
        .unwrap_err()
        .to_string();
        for name in [
            "AGENT_API_URL",
            "COGNITO_USER_POOL_ID",
            "COGNITO_CLIENT_ID",
            "TRIGGERS_TABLE_NAME",
            "AWS_REGION",
            "EXECUTION_TTL_DAYS",
            "LEASE_SECONDS",
            "AGENT_IDLE_TIMEOUT_SECONDS",
            "CHAIN_DEPTH_LIMIT",
            "METRICS_BY_TRIGGER",
            "COGNITO_DOMAIN",
        ] {
            assert!(error.contains(name), "{name} is missing in: {error}");
        }
    }

    #[test]
    fn a_problem_of_the_endpoint_of_all_services_is_named_once() {
        let error = config(&[("AWS_ENDPOINT_URL", "http://aws.example.com")]).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.problems[0].starts_with("AWS_ENDPOINT_URL "), "{error}");
    }

    #[test]
    fn a_cognito_domain_is_a_host_or_a_url() {
        for (given, expected) in [
            ("auth.example.com", "https://auth.example.com/oauth2/token"),
            ("https://auth.example.com/", "https://auth.example.com/oauth2/token"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/oauth2/token"),
        ] {
            let config = config(&[("COGNITO_DOMAIN", given)]).unwrap();
            assert_eq!(config.token_endpoint.unwrap().as_str(), expected);
        }
        assert!(config(&[("COGNITO_DOMAIN", "http://auth.example.com")]).is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let config = config(&[("COGNITO_CLIENT_SECRET", "hush")]).unwrap();
        assert_eq!(config.client_secret.as_ref().unwrap().expose(), "hush");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
