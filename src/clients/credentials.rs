//! The configuration that all of the AWS SDK's clients of a process share, and its credentials.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_credential_types::provider::{ProvideCredentials, Result, error::CredentialsError, future};
use tokio::sync::OnceCell;

use crate::clients::http::SdkHttpClient;

/// Builds the configuration for the region, whose clients send through `client`. No credentials are read yet.
///
/// The function and each surface of the control plane begin with it, so each is spared the SDK's chain of credentials
/// until the environment has none (`FunctionCredentials`).
pub async fn sdk_config(region: &str, client: reqwest::Client) -> SdkConfig {
    let (region, http) = (Region::new(region.to_owned()), SdkHttpClient::new(client));
    aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .credentials_provider(FunctionCredentials::new(region, http.clone()))
        .http_client(http)
        // The SDK's stalled-stream protection waits longer than any try may take, and wraps every body to do so.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The credentials that Lambda puts into the environment, else those of the SDK's default chain.
///
/// The chain is built at its first use: with SnapStart, and on a developer's machine. Building it takes a fifth of the
/// CPU of a start, because its client for STS reads the partitions of AWS.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
#[derive(Debug)]
pub(crate) struct FunctionCredentials {
    environment: EnvironmentVariableCredentialsProvider,
    region: Region,
    http: SdkHttpClient,
    chain: OnceCell<SdkConfig>,
}

impl FunctionCredentials {
    /// Creates the provider. It reads nothing yet. `http` sends what the chain asks of other services.
    pub(crate) fn new(region: Region, http: SdkHttpClient) -> Self {
        Self { environment: EnvironmentVariableCredentialsProvider::new(), region, http, chain: OnceCell::new() }
    }

    /// Returns the credentials of the environment, or those of the chain if the environment has none. The chain is
    /// built once and kept. The environment is read at each call. Environment variables that are set but unusable are
    /// an error, and the chain is not asked.
    async fn credentials(&self) -> Result {
        match self.environment.provide_credentials().await {
            Err(CredentialsError::CredentialsNotLoaded(_)) => {}
            given => return given,
        }
        let loading = || {
            aws_config::defaults(BehaviorVersion::latest())
                .region(self.region.clone())
                .http_client(self.http.clone())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .load()
        };
        let config = self.chain.get_or_init(loading).await;
        let chain =
            config.credentials_provider().ok_or_else(|| CredentialsError::not_loaded("there is no provider"))?;
        chain.provide_credentials().await
    }
}

impl ProvideCredentials for FunctionCredentials {
    /// Returns the future of [`Self::credentials`].
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
