//! The stand-ins behave as the services do that they stand in for: what the other tests rest on.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod lambda;
mod pipe;
mod smoke;
mod store;

/// An HTTP client. The function's features of reqwest bring no TLS provider, and reqwest asks for one even where all is
/// plain HTTP.
fn client() -> reqwest::Client {
    // Only the first call installs it; the others find it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}
