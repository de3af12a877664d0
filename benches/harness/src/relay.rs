//! A TCP relay in front of a service. Its connections can be made to die as idle ones do while an environment is
//! frozen.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use standins::Stack;
use standins::stack::Env;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How a connection dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The service closes it, and the client's kernel is told.
    Closed,
    /// A device in between forgets the connection and answers with a reset when the client sends again, as a NAT
    /// gateway does.
    Reset,
    /// A device in between forgets the connection and swallows what the client sends.
    Silent,
}

/// A relay. Dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    counts: Arc<Counts>,
    deaths: watch::Sender<Death>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    alive: AtomicUsize,
}

impl Relay {
    /// Starts a relay to `service`, an `http://host:port`.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start(service: &str) -> Self {
        let service = service.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (counts, deaths) = (Arc::<Counts>::default(), watch::Sender::new(Death::Closed));
        let (counting, dying) = (Arc::clone(&counts), deaths.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                connections.spawn(relay(client, service.clone(), Arc::clone(&counting), dying.subscribe()));
            }
        });
        Self { addr, counts, deaths, task: task.abort_handle() }
    }

    /// Returns the relay's address, `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns how many connections were opened.
    pub fn opened(&self) -> u64 {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// Makes all present connections die in this way, and returns how many did. Later connections live.
    pub async fn sever(&self, death: Death) -> usize {
        let alive = self.counts.alive.load(Ordering::SeqCst);
        self.deaths.send_replace(death);
        while self.counts.alive.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        alive
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: TcpStream, service: String, counts: Arc<Counts>, mut deaths: watch::Receiver<Death>) {
    let Ok(mut server) = TcpStream::connect(service).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    counts.opened.fetch_add(1, Ordering::SeqCst);
    counts.alive.fetch_add(1, Ordering::SeqCst);
    let death = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => None,
        Ok(()) = deaths.changed() => Some(*deaths.borrow()),
    };
    drop(server);
    match death {
        None | Some(Death::Closed) => {
            drop(client);
            counts.alive.fetch_sub(1, Ordering::SeqCst);
        }
        Some(Death::Reset) => {
            counts.alive.fetch_sub(1, Ordering::SeqCst);
            // Closing a socket that has unread data sends RST.
            let _ = client.readable().await;
        }
        Some(Death::Silent) => {
            counts.alive.fetch_sub(1, Ordering::SeqCst);
            pending().await
        }
    }
}

/// The relays in front of DynamoDB and Cognito.
#[derive(Debug)]
pub struct Relays {
    /// The relay in front of DynamoDB.
    pub dynamodb: Relay,
    /// The relay in front of Cognito.
    pub cognito: Relay,
}

impl Relays {
    /// Starts both relays.
    pub async fn start(stack: &Stack) -> Self {
        Self { dynamodb: Relay::start(&stack.dynamodb.url()).await, cognito: Relay::start(&stack.cognito.url()).await }
    }

    /// Returns the function's environment with both services reached through the relays.
    pub fn env(&self, stack: &Stack) -> Env {
        let mut env = stack.env();
        env.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.dynamodb.url());
        env.insert("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER".to_owned(), self.cognito.url());
        env.insert("COGNITO_DOMAIN".to_owned(), self.cognito.url());
        env
    }

    /// Makes every present connection die in this way, and returns how many did.
    pub async fn sever(&self, death: Death) -> usize {
        self.dynamodb.sever(death).await + self.cognito.sever(death).await
    }

    /// Returns how many connections were opened.
    pub fn opened(&self) -> u64 {
        self.dynamodb.opened() + self.cognito.opened()
    }
}
