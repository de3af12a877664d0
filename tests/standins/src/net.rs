//! Servers on loopback that end when they are dropped.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Any free port of 127.0.0.1.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A listener and its connections. Dropping it closes them all.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Listens on `addr` and passes every connection to `serve`.
    pub(crate) async fn start<F, C>(addr: SocketAddr, serve: F) -> io::Result<Self>
    where
        F: Fn(TcpStream) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((socket, _)) = accepted else { continue };
                        // Small writes are sent at once, because the tests depend on the pieces they send.
                        let _ = socket.set_nodelay(true);
                        connections.spawn(serve(socket));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { addr, task: task.abort_handle() })
    }

    /// Serves `router` over HTTP/1.1.
    pub(crate) async fn start_http(addr: SocketAddr, router: Router) -> io::Result<Self> {
        Self::start(addr, move |socket| {
            let router = TowerToHyperService::new(router.clone());
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = hyper::service::Service::call(&router, request.map(Body::new));
                    async move {
                        let response = answer.await.unwrap_or_else(|never| match never {});
                        // An error of the service makes hyper close the connection without an answer.
                        match response.extensions().get::<DropConnection>() {
                            Some(_) => Err(io::Error::other("dropped as asked")),
                            None => Ok(response),
                        }
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            }
        })
        .await
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Marks a response that must not be sent; the connection is closed instead.
#[derive(Clone)]
struct DropConnection;

/// Returns a "response" that closes the connection without an answer.
pub(crate) fn drop_connection() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(DropConnection);
    response
}
