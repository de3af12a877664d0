//! All stand-ins together, with function processes that use them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use crate::agent::Agent;
use crate::cognito::{CLIENT_ID, Cognito, USER_POOL_ID};
use crate::dynamodb::{DynamoDb, TABLE};
use crate::function::{Function, Tee};
use crate::lambda_api::{FUNCTION_NAME, LambdaApi};
use crate::net::ANY_PORT;
use crate::pipe::Pipe;
use crate::pool::{Pool, Started, Starter};
use crate::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::sqs::Sqs;
use crate::ssm::Ssm;

/// The environment of a function process.
pub type Env = BTreeMap<String, String>;

/// The services that a function needs. Function processes started from it share them, each with a Runtime API of its
/// own.
pub struct Stack {
    /// Cognito.
    pub cognito: Cognito,
    /// The agent. It accepts only bearer tokens that this Cognito issued.
    pub agent: Agent,
    /// DynamoDB.
    pub dynamodb: DynamoDb,
    /// SSM's Parameter Store.
    pub ssm: Ssm,
    /// The settle queue.
    pub sqs: Sqs,
    /// Lambda's API. Accepted events do not run until [`Stack::pool`] is called.
    pub lambda: LambdaApi,
    binary: PathBuf,
    functions: Arc<Started>,
}

/// The ports to listen on; 0 means any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// Cognito's API and token endpoint.
    pub cognito: u16,
    /// The agent.
    pub agent: u16,
    /// DynamoDB.
    pub dynamodb: u16,
    /// Lambda's API.
    pub lambda: u16,
}

impl Stack {
    /// Starts everything on free ports. The function's binary is the one that cargo built beside the running test or
    /// example (`target/*/agent-trigger`), unless [`Stack::with_binary`] names another.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(Ports::default()).await.expect("loopback has free ports")
    }

    /// Starts everything on these ports.
    ///
    /// # Errors
    /// Names the service and the port that is in use.
    pub async fn bind(ports: Ports) -> io::Result<Self> {
        let at = |port| std::net::SocketAddr::new(ANY_PORT.ip(), port);
        let taken = |service: &'static str, port: u16| {
            move |e: io::Error| io::Error::new(e.kind(), format!("port {port} for {service}: {e}"))
        };
        let cognito = Cognito::bind(at(ports.cognito)).await.map_err(taken("Cognito", ports.cognito))?;
        let agent = Agent::bind(at(ports.agent)).await.map_err(taken("the agent", ports.agent))?;
        let dynamodb = DynamoDb::bind(at(ports.dynamodb)).await.map_err(taken("DynamoDB", ports.dynamodb))?;
        let lambda = LambdaApi::bind(at(ports.lambda)).await.map_err(taken("Lambda", ports.lambda))?;
        let (ssm, sqs) = (Ssm::start().await?, Sqs::start().await?);
        agent.require_bearer_of(cognito.issuer());
        Ok(Self { cognito, agent, dynamodb, ssm, sqs, lambda, binary: built_binary(), functions: Arc::default() })
    }

    /// Sets the binary.
    #[must_use]
    pub fn with_binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = binary.into();
        self
    }

    /// Returns the binary's path.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Returns the function's environment for these services. The domain is set; the secret is left to be discovered.
    pub fn env(&self) -> Env {
        let (agent, cognito, dynamodb) = (self.agent.url(), self.cognito.url(), self.dynamodb.url());
        let (lambda, ssm, queue) = (self.lambda.url(), self.ssm.url(), self.sqs.url());
        let pairs = [
            ("AWS_LAMBDA_FUNCTION_NAME", FUNCTION_NAME),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "standin"),
            ("AWS_SECRET_ACCESS_KEY", "standin"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb),
            ("AWS_ENDPOINT_URL_LAMBDA", &lambda),
            ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", &cognito),
            ("AWS_ENDPOINT_URL_SSM", &ssm),
            ("SETTLE_QUEUE_URL", &queue),
            ("AGENT_API_URL", &agent),
            ("COGNITO_USER_POOL_ID", USER_POOL_ID),
            ("COGNITO_CLIENT_ID", CLIENT_ID),
            ("COGNITO_DOMAIN", &cognito),
            ("TRIGGERS_TABLE_NAME", TABLE),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Starts a function process with [`Stack::env`] and these changes to it.
    ///
    /// # Panics
    /// If the binary cannot be started.
    pub async fn function(&self, overrides: &[(&str, &str)]) -> Lambda {
        self.function_with(&self.env_with(overrides)).await
    }

    fn env_with(&self, overrides: &[(&str, &str)]) -> Env {
        let mut env = self.env();
        env.extend(overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        env
    }

    /// Starts a function process with exactly this environment.
    ///
    /// # Panics
    /// If the binary cannot be started.
    pub async fn function_with(&self, env: &Env) -> Lambda {
        self.spawn(env, tee()).await.unwrap_or_else(|e| panic!("{} must start: {e}", self.binary.display()))
    }

    /// Starts a function process with exactly this environment and passes its lines to `tee`.
    ///
    /// # Errors
    /// If the binary cannot be started.
    pub async fn spawn(&self, env: &Env, tee: Option<Tee>) -> io::Result<Lambda> {
        self.starter(env.clone(), tee).start().await
    }

    fn starter(&self, env: Env, tee: Option<Tee>) -> Starter {
        Starter { binary: self.binary.clone(), env, tee, started: Arc::clone(&self.functions) }
    }

    /// Lets up to `size` function processes run the events that [`Stack::lambda`] accepts, as Lambda's environments do:
    /// one invocation at a time, each process started when all others are busy, with [`Stack::env`] and these changes
    /// to it.
    pub fn pool(&self, size: usize, overrides: &[(&str, &str)]) {
        self.pool_with(size, self.env_with(overrides), tee());
    }

    /// Does the same as [`Stack::pool`], with exactly this environment, and passes every line of the processes to
    /// `tee`.
    pub fn pool_with(&self, size: usize, env: Env, tee: Option<Tee>) {
        self.lambda.work_with(Pool::new(self.lambda.queue(), self.starter(env, tee), size));
    }

    /// Lets another Invoke API run the events that [`Stack::lambda`] accepts, for example that of `cargo lambda watch`,
    /// which has no asynchronous invocations of its own. Each event is a synchronous POST to `url`.
    pub fn forward(&self, url: &str) {
        self.lambda.work_with(Pool::forwarding(self.lambda.queue(), url.to_owned()));
    }

    /// Puts an event into Lambda's queue, as a rule's target does, and returns its request id.
    pub fn invoke_async(&self, invocation: Invocation) -> String {
        self.lambda.submit(invocation)
    }

    /// Waits until nothing is left to do: no event is queued or running, and `pipe` has no change left that makes a new
    /// one.
    ///
    /// # Panics
    /// As [`LambdaApi::idle`] does.
    pub async fn quiet(&self, pipe: &Pipe) {
        loop {
            self.lambda.idle().await;
            if self.is_quiet(pipe) {
                return;
            }
        }
    }

    /// Returns true if nothing is left to do, in the sense of [`Stack::quiet`].
    pub fn is_quiet(&self, pipe: &Pipe) -> bool {
        if self.lambda.invocations().iter().any(|invocation| !invocation.over) {
            return false;
        }
        let accepted = self.lambda.accepted();
        pipe.drain();
        self.lambda.accepted() == accepted
    }

    /// Returns the tokens, secrets and prompts that the stand-ins have seen so far, that were sent to a function of
    /// this stack, or that a trigger item contains.
    pub fn secrets(&self) -> Vec<String> {
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let payloads = functions.iter().flat_map(|(_, api)| api.payloads());
        let sent = payloads.filter_map(|payload| {
            let event: Value = serde_json::from_slice(&payload).ok()?;
            Some(event["detail"]["prompt"].as_str()?.to_owned())
        });
        let received = self.agent.requests().into_iter().map(|r| r.field("prompt").to_owned());
        let kept = self.dynamodb.scan().into_iter().filter(holds_prompts);
        let kept = kept.filter_map(|item| Some(item["prompt"].as_str()?.to_owned()));
        let mut secrets: Vec<_> = sent.chain(received).chain(kept).collect();
        secrets.extend(self.credentials());
        distinct(secrets)
    }

    /// Returns the tokens and secrets.
    fn credentials(&self) -> Vec<String> {
        let mut credentials = self.cognito.issued_tokens();
        credentials.extend(self.cognito.secrets());
        credentials.extend(self.ssm.values());
        let tokens = self
            .agent
            .requests()
            .into_iter()
            .filter_map(|request| request.callback()?["token"].as_str().map(str::to_owned));
        credentials.extend(tokens);
        distinct(credentials)
    }

    /// Asserts that [`Stack::leak`] finds nothing.
    ///
    /// # Panics
    /// With the secret and the place where it was found.
    pub fn assert_clean(&self) {
        assert_eq!(self.leak(), None);
    }

    /// Looks for a token, secret, prompt or answer in a line logged or a result returned by the functions of this
    /// stack, including those of a pool, and for a token, secret or prompt in an item of the table. Returns what it
    /// found and where. Triggers and inputs are there to keep a prompt and may contain it.
    pub fn leak(&self) -> Option<String> {
        let secrets = self.secrets();
        let mut spoken = secrets.clone();
        spoken.extend(self.agent.answers());
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<_> = functions.iter().flat_map(|(logs, _)| logs.lines()).collect();
        for outcome in functions.iter().flat_map(|(_, api)| api.outcomes()) {
            match outcome {
                Outcome::Success(value) => lines.push(value.to_string()),
                Outcome::FunctionError { posted, .. } => lines.push(posted.to_string()),
                Outcome::Died | Outcome::TimedOut => {}
            }
        }
        drop(functions);
        let (prompts, records): (Vec<_>, Vec<_>) = self.dynamodb.scan().into_iter().partition(holds_prompts);
        find_leak(&distinct(spoken), &lines, &[])
            .or_else(|| find_leak(&secrets, &[], &records))
            .or_else(|| find_leak(&self.credentials(), &[], &prompts))
    }
}

/// Returns true if an item is a trigger or the input of an execution.
fn holds_prompts(item: &Value) -> bool {
    item["SK"].as_str().is_some_and(|sk| sk.starts_with("TRIGGER#") || sk.starts_with("INPUT#"))
}

/// With `STANDINS_TEE` set, the lines of the processes are shown on standard error.
fn tee() -> Option<Tee> {
    std::env::var_os("STANDINS_TEE").map(|_| Arc::new(|line: &str| eprintln!("{line}")) as Tee)
}

/// The least length of a text to look for: long enough not to be found by chance.
fn distinct(mut secrets: Vec<String>) -> Vec<String> {
    secrets.retain(|secret| secret.len() >= 6);
    secrets.sort();
    secrets.dedup();
    secrets
}

/// Asserts that none of `secrets` is in `logs` or `records`, neither as it is nor as JSON escapes it.
///
/// # Panics
/// With the secret and the place where it was found.
pub fn assert_no_secrets(secrets: &[String], logs: &[String], records: &[Value]) {
    assert_eq!(find_leak(secrets, logs, records), None);
}

fn find_leak(secrets: &[String], logs: &[String], records: &[Value]) -> Option<String> {
    let records = records.iter().map(Value::to_string);
    let places: Vec<_> = logs.iter().cloned().chain(records).collect();
    secrets.iter().find_map(|secret| {
        let quoted = Value::from(secret.as_str()).to_string();
        let quoted = &quoted[1..quoted.len() - 1];
        let place = places.iter().find(|place| place.contains(secret) || place.contains(quoted))?;
        Some(format!("{secret:?} leaked into {place}"))
    })
}

/// Returns the directory in which cargo puts the binary, found from a test (`target/*/deps`) or an example
/// (`target/*/examples`).
fn built_binary() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let profile = here.ancestors().nth(2).unwrap_or(Path::new("."));
    profile.join(format!("agent-trigger{}", std::env::consts::EXE_SUFFIX))
}

/// A function process with its Runtime API.
pub struct Lambda {
    /// Its Runtime API.
    pub api: RuntimeApi,
    /// The process.
    pub process: Function,
}

impl Lambda {
    /// Invokes the function and waits for the outcome.
    pub async fn invoke(&self, invocation: Invocation) -> Outcome {
        self.api.invoke(invocation).await
    }

    /// Returns every line logged so far.
    pub fn logs(&self) -> Vec<String> {
        self.process.logs()
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Sends SIGSTOP.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) {
        self.process.thaw();
    }
}
