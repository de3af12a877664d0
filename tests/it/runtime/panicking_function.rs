//! The function as main.rs wires it, but for the allocator, and for a resolver that panics when it is first asked for a host name: so the real
//! handler meets a real panic in the middle of a run. The tests choose where by giving one address as a name.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use agent_trigger::{clients::http::Clients, config::Config, runtime, telemetry::log};
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

#[derive(Default)]
struct PanicsOnce(AtomicBool);

impl Resolve for PanicsOnce {
    fn resolve(&self, _: Name) -> Resolving {
        assert!(self.0.swap(true, Ordering::Relaxed), "a bug in the function, as the test wants it");
        // Port 0 stands for the URL's own.
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Box::pin(async move { Ok(Box::new(std::iter::once(loopback)) as Addrs) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    log::init();
    let config = Config::from_env()?;
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(PanicsOnce::default()))
        .build()?;
    let clients = Clients { aws: client.clone(), agent: client };
    runtime::serve(runtime::app(config, &clients).await).await
}
