//! The agents by their ids: the definition that an id names, and the caller's authorization. Only agents that the
//! settings define have an address, so a credential goes nowhere else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    agent::{
        Agent,
        authorization::{self, Authorization},
        error::AgentError,
    },
    clients::{
        cognito::TokenSource,
        http::Clients,
        sigv4::{SignError, Signer},
        ssm::{ParameterError, Parameters},
    },
    config::Config,
    domain::{
        agent_auth::{AgentAuth, is_parameter_name},
        agent_definition::{AgentDefinition, AgentSource, Defaults, DefinitionMark},
        agent_profile::AgentProfile,
        endpoint,
        failure::{ErrorType, Failure},
    },
    error_chain::chain,
    json::lenient,
    store::Store,
};

/// The service that an agent's requests are signed for.
const AGENTCORE: &str = "bedrock-agentcore";
/// The time for which a definition from a parameter is used before it is read again.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// All agents that the settings define, one set for the process.
#[derive(Debug)]
pub struct Agents {
    clients: Clients,
    config: Config,
    tokens: TokenSource,
    parameters: Parameters,
    signer: Arc<Signer>,
    named: HashMap<String, Arc<Agent>>,
    unnamed: Option<Arc<Agent>>,
    /// The agents whose definitions are parameters, each with the time until which it is used.
    read: Mutex<HashMap<String, (SystemTime, Arc<Agent>)>>,
}

impl Agents {
    /// Creates the set. No request is made until an agent needs one.
    pub fn new(config: &Config, clients: &Clients, tokens: TokenSource, signer: Signer) -> Self {
        let signer = Arc::new(signer);
        let agent = |definition: &AgentDefinition| {
            Arc::new(Agent::new(definition.clone().into(), clients.agent.clone(), config.agent_idle_timeout))
        };
        let named = match &config.agents {
            AgentSource::Inline(agents) => agents.iter().map(|(id, agent_of)| (id.clone(), agent(agent_of))).collect(),
            AgentSource::Parameters(_) => HashMap::new(),
        };
        Self {
            named,
            unnamed: config.unnamed_agent.as_ref().map(agent),
            parameters: Parameters::new(config, clients.aws.clone(), Arc::clone(&signer)),
            clients: clients.clone(),
            config: config.clone(),
            tokens,
            signer,
            read: Mutex::default(),
        }
    }

    /// Returns the agent of this id, or the agent at `AGENT_API_URL` if the id has no definition.
    ///
    /// # Errors
    /// Returns `AgentNotFound` if there is neither, if the definition is unusable, or if SSM refuses to give it.
    /// Returns `AgentUnavailable`, retryable, if SSM does not answer now.
    pub async fn find(&self, id: &str) -> Result<Arc<Agent>, Failure> {
        let named = match &self.config.agents {
            AgentSource::Inline(_) => self.named.get(id).cloned(),
            AgentSource::Parameters(path) => self.of_parameter(path, id).await?,
        };
        named.or_else(|| self.unnamed.clone()).ok_or_else(|| {
            let message = format!("AGENTS does not name the agent {id:?}, and AGENT_API_URL is not set");
            Failure::fatal(ErrorType::AgentNotFound, message)
        })
    }

    /// Returns the mark of the agent's definition, or `None` if there is none, or only a request can tell it: its
    /// definition is a parameter that was not read in the last five minutes. No request is made.
    pub fn known(&self, id: &str) -> Option<DefinitionMark> {
        let read = self.read();
        let of_parameter = || read.get(id).filter(|(until, _)| SystemTime::now() < *until).map(|(_, agent)| agent);
        let agent = match &self.config.agents {
            AgentSource::Inline(_) => self.named.get(id).or(self.unnamed.as_ref()),
            // Only a request tells that there is no parameter and the unnamed agent is meant.
            AgentSource::Parameters(_) => of_parameter(),
        };
        agent.map(|agent| agent.definition.mark())
    }

    /// Reads the definition of an agent from its parameter, and uses it for five minutes. Returns `None` if there is no
    /// such parameter, or if the id cannot be the end of a parameter's name. That a parameter is missing is not cached.
    /// An unusable definition is not read from SSM again for five minutes.
    ///
    /// # Errors
    /// Returns `AgentUnavailable`, retryable, if SSM does not answer now, and `AgentNotFound` if it refuses or the
    /// definition is unusable.
    async fn of_parameter(&self, path: &str, id: &str) -> Result<Option<Arc<Agent>>, Failure> {
        let now = SystemTime::now();
        if let Some((until, agent)) = self.read().get(id)
            && now < *until
        {
            return Ok(Some(Arc::clone(agent)));
        }
        // An id is one level of the path: it must not reach the parameters of others.
        let name = format!("{path}{id}");
        if id.contains('/') || !is_parameter_name(&name) {
            return Ok(None);
        }
        let text = match self.parameters.get(&name).await {
            Ok(text) => text,
            Err(ParameterError::NotFound(_)) => return Ok(None),
            Err(error) if error.is_transient() => {
                return Err(Failure::retryable(ErrorType::AgentUnavailable, unreadable(id, &chain(&error))));
            }
            Err(error) => return Err(Failure::fatal(ErrorType::AgentNotFound, unreadable(id, &chain(&error)))),
        };
        let definition = self.definition(&name, id, text.expose())?;
        let agent = Agent::new(definition.into(), self.clients.agent.clone(), self.config.agent_idle_timeout);
        let agent = Arc::new(agent);
        self.read().insert(id.to_owned(), (now + LIFE, Arc::clone(&agent)));
        Ok(Some(agent))
    }

    /// Reads the definition of the agent `id` in `text`, the JSON value of the SSM parameter `name`.
    ///
    /// # Errors
    /// Returns `AgentNotFound` with every problem at once, or with the place at which the text is no JSON. Returns
    /// `AgentNotFound`, too, if its auth is Cognito and the settings have no machine client. No value of the definition
    /// is repeated.
    fn definition(&self, name: &str, id: &str, text: &str) -> Result<AgentDefinition, Failure> {
        let unusable = |problems: &str| {
            let message =
                format!("the definition of the agent {id:?} in the SSM parameter {name} is unusable: {problems}");
            Failure::fatal(ErrorType::AgentNotFound, message)
        };
        let definition = serde_json::from_str(text)
            .map_err(|error| unusable(&format!("it must be JSON ({})", lenient::fault(&error))))?;
        let mut problems = Vec::new();
        let defaults = Defaults { agentcore_endpoint: self.config.agentcore_endpoint.as_ref() };
        match AgentDefinition::read("AGENTS", id, &definition, defaults, &mut problems) {
            Some(AgentDefinition { auth: AgentAuth::Cognito, .. }) if self.config.client_id.is_empty() => {
                Err(unusable("its auth is cognito, but COGNITO_USER_POOL_ID and COGNITO_CLIENT_ID are not set"))
            }
            Some(definition) => Ok(definition),
            None => Err(unusable(&problems.join("; "))),
        }
    }

    /// Locks the definitions that were read from parameters. The lock is never held across an await.
    fn read(&self) -> MutexGuard<'_, HashMap<String, (SystemTime, Arc<Agent>)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the agent's row of the agents table, with the environments of its MCP servers. Returns `None` if the
    /// settings name no table. `until` limits the wait for the table, but not the wait for SSM.
    ///
    /// # Errors
    /// Returns `AgentNotFound` if there is no row, or if SSM's value is no JSON, and otherwise the failure of the table
    /// or of SSM.
    pub async fn profile(
        &self,
        store: &Store,
        user_id: &str,
        agent_id: &str,
        until: Instant,
    ) -> Result<Option<AgentProfile>, Failure> {
        let Some(table) = &self.config.agents_table else { return Ok(None) };
        let row = store.in_time(until, store.agent_row(table, user_id, agent_id)).await?;
        let Some(row) = row else {
            let message = format!("the agents table has no row of this user for the agent {agent_id:?}");
            return Err(Failure::fatal(ErrorType::AgentNotFound, message));
        };
        let mut profile = AgentProfile::read(&row);
        if profile.needs_mcp_env() {
            let env = self.mcp_env(user_id, agent_id).await?;
            profile.restore_mcp_env(&env);
        }
        Ok(Some(profile))
    }

    /// Reads the environments of an agent's MCP servers, a JSON object by server. Returns null, with a warning, if
    /// there is no such parameter or no prefix, or if an id cannot be a level of its name. The servers then run without
    /// environments.
    ///
    /// # Errors
    /// Returns `AuthenticationFailed` if SSM does not give the value, retryable if it may later. Returns
    /// `AgentNotFound` if the value is no JSON.
    async fn mcp_env(&self, user_id: &str, agent_id: &str) -> Result<Value, Failure> {
        let prefix = self.config.parameter_prefix.as_deref().unwrap_or_default().trim_end_matches('/');
        let name = format!("{prefix}/agents/{user_id}/{agent_id}/mcp-env");
        // An id is one level of the path: it must not reach the parameters of others.
        let is_usable = !prefix.is_empty() && !format!("{user_id}{agent_id}").contains('/') && is_parameter_name(&name);
        let text = match if is_usable { self.parameters.get(&name).await } else { Err(ParameterError::NotFound(name)) }
        {
            Ok(text) => text,
            Err(error @ ParameterError::NotFound(_)) => {
                tracing::warn!(error = %error, "the agent's MCP servers get no environment");
                return Ok(Value::Null);
            }
            Err(error) => return Err(error.into()),
        };
        serde_json::from_str(text.expose()).map_err(|_| {
            Failure::fatal(
                ErrorType::AgentNotFound,
                "the SSM parameter with the environments of MCP servers is no JSON",
            )
        })
    }

    /// Returns the caller's authorization for `agent`, good for the requests of the next few minutes. A request to
    /// AgentCore is signed for the region that its address names, or otherwise for the function's. Tokens and secrets
    /// may come from a cache: [`Self::is_renewable`] forgets one that the agent refused.
    ///
    /// # Errors
    /// Returns `AuthenticationFailed`, retryable if a later attempt may get it.
    pub async fn authorize(&self, agent: &Agent) -> Result<Authorization, Failure> {
        match &agent.definition.auth {
            AgentAuth::None => Ok(Authorization::None),
            AgentAuth::Cognito => Ok(Authorization::Bearer(self.tokens.token().await?)),
            AgentAuth::Secret { header, parameter } => {
                let secret = self.parameters.get(parameter).await?;
                authorization::header(header, secret.clone()).map_err(|_| {
                    // The next attempt may find another value.
                    self.parameters.forget(parameter, &secret);
                    let message =
                        format!("the value of the SSM parameter {parameter} cannot stand in the header {header}");
                    Failure::fatal(ErrorType::AuthenticationFailed, message)
                })
            }
            AgentAuth::Iam => {
                let region = endpoint::region_of(&agent.definition.url).unwrap_or(&self.config.region);
                let key = self.signer.key(AGENTCORE, region).await?;
                Ok(Authorization::Signature(Arc::new(move |request| {
                    key.sign(request, SystemTime::now()).map_err(|error| error.to_string())
                })))
            }
        }
    }

    /// Forgets the token or secret that the agent refused with `error`. Returns true if there was one, so that another
    /// try may succeed: a token may have been revoked, and the value of a parameter may have been changed since it was
    /// read. A token is forgotten after 401 alone, a secret also after 403. The caller limits the number of tries.
    pub fn is_renewable(&self, agent: &Agent, authorization: &Authorization, error: &AgentError) -> bool {
        match (&agent.definition.auth, authorization) {
            (AgentAuth::Cognito, Authorization::Bearer(token)) if matches!(error, AgentError::Unauthorized { .. }) => {
                self.tokens.forget(token);
                true
            }
            (AgentAuth::Secret { parameter, .. }, Authorization::Header(_, secret)) if error.refuses_caller() => {
                self.parameters.forget(parameter, secret);
                true
            }
            _ => false,
        }
    }
}

/// Returns the text of a failure to read an agent's definition.
fn unreadable(id: &str, cause: &str) -> String {
    format!("the definition of the agent {id:?} cannot be read: {cause}")
}

impl From<ParameterError> for Failure {
    /// Returns a failure `AuthenticationFailed`, which is retryable if the error is transient.
    fn from(error: ParameterError) -> Self {
        let retryable = error.is_transient();
        Self { retryable, ..Self::fatal(ErrorType::AuthenticationFailed, chain(&error)) }
    }
}

impl From<SignError> for Failure {
    /// Returns a retryable failure `AuthenticationFailed`.
    fn from(error: SignError) -> Self {
        Self::retryable(ErrorType::AuthenticationFailed, chain(&error))
    }
}
