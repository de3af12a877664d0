//! Builds the function's HTTP clients on the trust store that its argument names, and ends.

use std::sync::Arc;

use agent_trigger::clients::http::Clients;
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_platform_verifier::Verifier;

type Built = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Built {
    let store = std::env::args().nth(1).unwrap_or_default();
    match store.as_str() {
        // The baseline: everything except the certificates.
        "none" => both(&config(RootCertStore::empty())?),
        "static" => Clients::new(None).map(drop).map_err(Into::into),
        "bundle" => Clients::new(std::env::var("AWS_CA_BUNDLE").ok().as_deref()).map(drop).map_err(Into::into),
        // The default behaviour of reqwest, done once and shared.
        "platform" => both(&platform()?),
        // The default behaviour of the SDK's own client and of a separate reqwest, side by side.
        "twice" => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            client(config(roots)?, usize::MAX)?;
            client(platform()?, 0)
        }
        other => Err(format!("no such store: {other}").into()),
    }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

fn platform() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Verifier::new(Arc::clone(&provider))?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn both(tls: &ClientConfig) -> Built {
    client(tls.clone(), usize::MAX)?;
    client(tls.clone(), 0)
}

fn client(tls: ClientConfig, idle: usize) -> Built {
    Client::builder().tls_backend_preconfigured(tls).pool_max_idle_per_host(idle).build()?;
    Ok(())
}
