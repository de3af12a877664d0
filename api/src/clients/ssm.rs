//! The secrets of webhooks in SSM's Parameter Store, each a SecureString with versions. The only file that names the
//! SDK's types. <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-versions.html>

use std::{error::Error as _, sync::OnceLock, time::Duration};

use agent_trigger::{config::Secret, error_chain::chain};
use aws_config::SdkConfig;
use aws_sdk_ssm::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::ParameterType,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};

use crate::settings::Settings;

/// The time limit of one try, and of an operation with its retries.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_TRIES: u32 = 3;

/// The reason why a secret is not read or written. No error holds one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no such parameter, or not this version of it.
    #[error("the parameter does not exist")]
    NotFound,
    /// SSM does not let the API in.
    #[error("access was denied")]
    Denied,
    /// SSM refused for another reason, or did not answer. Holds the error's code, or what the network's error was.
    #[error("it did not answer: {0}")]
    Unavailable(String),
}

/// A version of a secret.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The secret.
    pub secret: Secret,
    /// The version, from 1 on.
    pub version: i64,
    /// The time at which it was written, in seconds since 1970, as far as SSM says.
    pub written: Option<i64>,
}

/// The parameters below one path. The client is created for the first request, because most processes of the manage
/// surface need none.
#[derive(Debug)]
pub struct SecretStore {
    aws: SdkConfig,
    client: OnceLock<Client>,
    path: String,
}

impl SecretStore {
    /// Creates the store on the shared configuration. `path` begins and ends with a slash.
    pub fn new(aws: &SdkConfig, path: &str) -> Self {
        Self { aws: aws.clone(), client: OnceLock::new(), path: path.to_owned() }
    }

    /// Returns the client, which is built by the first caller.
    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let timeouts = TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build();
            let config = aws_sdk_ssm::config::Builder::from(&self.aws)
                .timeout_config(timeouts)
                .retry_config(RetryConfig::standard().with_max_attempts(MAX_TRIES))
                .build();
            Client::from_conf(config)
        })
    }

    /// Creates the store for the secrets that the manage surface writes, or returns `None` if no webhooks are deployed.
    pub fn of_settings(aws: &SdkConfig, settings: &Settings) -> Option<Self> {
        settings.hooks.as_ref().map(|hooks| Self::new(aws, &hooks.secret_path))
    }

    /// Reads `version` of a secret, or with `None` the newest one, decrypted. `name` is below the store's path.
    ///
    /// # Errors
    /// Returns `NotFound` if there is none or it is empty. Otherwise says that SSM does not give it.
    pub async fn get(&self, name: &str, version: Option<i64>) -> Result<Stored, SecretError> {
        let selector = version.map(|version| format!(":{version}")).unwrap_or_default();
        let name = format!("{}{name}{selector}", self.path);
        let output = Box::pin(self.client().get_parameter().name(name).with_decryption(true).send()).await;
        let parameter = output.map_err(|error| of_sdk(&error))?.parameter.ok_or(SecretError::NotFound)?;
        let secret = parameter.value.filter(|value| !value.is_empty()).ok_or(SecretError::NotFound)?;
        let written = parameter.last_modified_date.map(|at| at.secs());
        Ok(Stored { secret: Secret::new(secret), version: parameter.version, written })
    }

    /// Stores a secret as a new version of the parameter `name` below the store's path, and returns the version.
    ///
    /// # Errors
    /// Returns an error if SSM does not take it. It may have taken it all the same.
    pub async fn put(&self, name: &str, secret: &Secret) -> Result<i64, SecretError> {
        let request = self.client().put_parameter().name(format!("{}{name}", self.path)).value(secret.expose());
        let request = request.r#type(ParameterType::SecureString).overwrite(true);
        let output = Box::pin(request.send()).await.map_err(|error| of_sdk(&error))?;
        Ok(output.version)
    }

    /// Deletes a secret with all its versions. It succeeds if there is none.
    ///
    /// # Errors
    /// Returns an error if SSM does not do it.
    pub async fn delete(&self, name: &str) -> Result<(), SecretError> {
        let request = self.client().delete_parameter().name(format!("{}{name}", self.path));
        match Box::pin(request.send()).await.map_err(|error| of_sdk(&error)) {
            Ok(_) | Err(SecretError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Returns the error of a request, by the code that SSM answers. Without an answer, and for any other code, it is
/// `Unavailable`. It never holds a secret.
fn of_sdk<E>(error: &SdkError<E>) -> SecretError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if !matches!(error, SdkError::ServiceError(_)) {
        // Not its debug form, which may hold an answer that was cut short, with the secret in it.
        return SecretError::Unavailable(error.source().map_or_else(|| error.to_string(), chain));
    }
    match error.code().unwrap_or("unknown error") {
        "ParameterNotFound" | "ParameterVersionNotFound" => SecretError::NotFound,
        "AccessDeniedException" => SecretError::Denied,
        code => SecretError::Unavailable(code.to_owned()),
    }
}
