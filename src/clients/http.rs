//! One HTTP and TLS stack for everything: the AWS SDK, Cognito's token endpoint, and the agent.

use std::{
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use http::Uri;
use reqwest::{Body, Client, ClientBuilder, Url, redirect};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The time limit for setting up a TCP and TLS connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The idle time before the first TCP keep-alive. NAT gateways and load balancers drop a silent flow after 350 s
/// without notice.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// The client for AWS, for packages that do not name reqwest themselves.
pub type AwsClient = Client;

/// The HTTP clients of the process.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The client for AWS and Cognito, which keeps connections.
    pub aws: Client,
    /// The client for the agent, which opens a connection for every call. A kept connection may have died while the
    /// environment was frozen, and a request lost on it cannot be told from one that the agent works on.
    pub agent: Client,
}

impl Clients {
    /// Builds both clients on one trust store: Mozilla's roots, which need no file to be read, and those of the PEM
    /// file at the path `extra_roots` (`AWS_CA_BUNDLE`). An unusable certificate is passed over if another one is
    /// usable.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read as PEM, or holds no usable certificate.
    pub fn new(extra_roots: Option<&str>) -> Result<Self, String> {
        Self::built(extra_roots, |builder| builder)
    }

    /// Builds both clients as [`Clients::new`] does, but without the proxies of the environment (`HTTP_PROXY`). They
    /// are for addresses on this machine: a proxy would see the bearer tokens of plain HTTP.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read as PEM, or holds no usable certificate.
    pub fn direct(extra_roots: Option<&str>) -> Result<Self, String> {
        Self::built(extra_roots, ClientBuilder::no_proxy)
    }

    /// Builds the client for AWS alone, with the trust store of [`Clients::new`].
    ///
    /// # Errors
    /// Returns an error if the file cannot be read as PEM, or holds no usable certificate.
    pub fn aws_alone(extra_roots: Option<&str>) -> Result<AwsClient, String> {
        builder(tls(extra_roots)?).build().map_err(|error| error.to_string())
    }

    /// Builds both clients. `adapt` makes the last change to the settings of each.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read as PEM, or holds no usable certificate.
    fn built(extra_roots: Option<&str>, adapt: fn(ClientBuilder) -> ClientBuilder) -> Result<Self, String> {
        let tls = tls(extra_roots)?;
        let build = |builder: ClientBuilder| adapt(builder).build().map_err(|error| error.to_string());
        Ok(Self { aws: build(builder(tls.clone()))?, agent: build(builder(tls).pool_max_idle_per_host(0))? })
    }
}

/// Returns the settings of TLS: Mozilla's roots, and those of the PEM file at the path `extra_roots`. No client
/// certificate is sent.
///
/// # Errors
/// Returns an error if the file cannot be read as PEM, or holds no usable certificate.
fn tls(extra_roots: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_roots {
        let unreadable = |error| format!("AWS_CA_BUNDLE: cannot read {path}: {error}");
        let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(format!("AWS_CA_BUNDLE: {path} holds no certificate"));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the settings of both clients: the trust store, the limits of connecting, no redirects and no second try.
/// There is no time limit for a whole request: each caller has its own.
fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE_IDLE)
        .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
        .tcp_keepalive_retries(KEEPALIVE_PROBES)
        // Neither a bearer token nor a client secret may follow a redirect.
        .redirect(redirect::Policy::none())
        // The agent call, the token source and the SDK decide what may be sent again, never the layers below them.
        .retry(reqwest::retry::never())
}

/// An HTTP client for the AWS SDK that sends through a [`Client`].
#[derive(Debug, Clone)]
pub struct SdkHttpClient {
    client: Client,
    /// The address of the last request in both forms. It is nearly always the table's, and so need not be parsed for
    /// each request.
    asked: Arc<Mutex<Option<(Uri, Url)>>>,
}

impl SdkHttpClient {
    /// Creates a client that sends through `client`.
    pub fn new(client: Client) -> Self {
        Self { client, asked: Arc::default() }
    }

    /// Sends a request, once. It has no time limit: the SDK drops an attempt when its time is up.
    ///
    /// # Errors
    /// The kind of an error tells the SDK whether it may try again. A request that cannot be built is an error of the
    /// user. Failures of the network are timeouts or I/O.
    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::user(error);
        let (parts, body) = request.try_into_http1x().map_err(|error| user(error.into()))?.into_parts();
        let url = self.url(parts.uri).map_err(|error| user(error.into()))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(Body::wrap(body));
        let response = self.client.execute(request).await.map_err(|error| {
            let is_timeout = error.is_timeout();
            // The error goes into the log, and the path of an address may hold the id of a trigger.
            let error = error.without_url().into();
            if is_timeout { ConnectorError::timeout(error) } else { ConnectorError::io(error) }
        })?;
        let response = http::Response::<Body>::from(response).map(SdkBody::from_body_1_x);
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
    }

    /// Returns the address as reqwest's type. It is parsed only if the last request had another one. One that cannot be
    /// parsed is an error.
    fn url(&self, uri: Uri) -> Result<Url, <Url as FromStr>::Err> {
        let Ok(mut asked) = self.asked.lock() else { return uri.to_string().parse() };
        if let Some((_, url)) = asked.as_ref().filter(|(before, _)| *before == uri) {
            return Ok(url.clone());
        }
        let url: Url = uri.to_string().parse()?;
        *asked = Some((uri, url.clone()));
        Ok(url)
    }
}

impl HttpClient for SdkHttpClient {
    /// Returns this client. The SDK's settings of a connector are not used: the client has its own limits.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkHttpClient {
    /// Returns the future of [`SdkHttpClient::send`].
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}
