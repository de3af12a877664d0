//! The configuration that all of the AWS SDK's clients of a process share.

use aws_config::{BehaviorVersion, Region, SdkConfig, stalled_stream_protection::StalledStreamProtectionConfig};

use crate::clients::{credentials::FunctionCredentials, http::SdkHttpClient};

/// Builds the configuration for the region, whose clients send through `client`. No credentials are read yet.
///
/// The function and each surface of the control plane begin with it, so each is spared the SDK's chain of credentials
/// until the environment has none ([`FunctionCredentials`]).
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
