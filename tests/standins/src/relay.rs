//! A relay in front of an agent that serves plain HTTP: it passes every byte on, as it came, and keeps the answers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::net::{ANY_PORT, Server};

/// The bytes of a body that are kept.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The bytes of a head beyond which it is none.
const MAX_HEAD: usize = 64 * 1024;
/// The bytes of a request that are kept.
const MAX_REQUEST: usize = 1024 * 1024;

/// An answer as it passed through.
#[derive(Clone, Debug, Default)]
pub struct Relayed {
    /// The request that it answers, head and body, with any framing.
    pub request: Vec<u8>,
    /// The status, or 0 before there is one.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: Option<String>,
    /// The `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The body so far, without its framing.
    pub body: Vec<u8>,
    /// True if there was more than is kept.
    pub is_cut: bool,
    /// How the body ended: whole or torn. `None` while it has not ended.
    pub is_whole: Option<bool>,
}

impl Relayed {
    /// Returns true if the request names this session as its own, in the header or in whatever member its protocol has
    /// for it. The session of the run before it in a chain may stand within its prompt.
    pub fn is_of(&self, session: &str) -> bool {
        let request = String::from_utf8_lossy(&self.request);
        match header(&request, "x-amzn-bedrock-agentcore-runtime-session-id") {
            Some(own) => !session.is_empty() && own == session,
            None => !session.is_empty() && request.contains(&format!("\"{session}\"")),
        }
    }
}

/// The relay. Dropping it closes it and its connections.
#[derive(Debug)]
pub struct Relay {
    server: Server,
    book: Arc<Book>,
}

#[derive(Debug, Default)]
struct Book(Mutex<Vec<Relayed>>);

impl Book {
    fn answers(&self) -> MutexGuard<'_, Vec<Relayed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// Starts a relay to the agent at `to`.
    ///
    /// # Errors
    /// If nothing listens there, or loopback has no free port.
    pub async fn start(to: SocketAddr) -> io::Result<Self> {
        drop(TcpStream::connect(to).await?);
        let book = Arc::new(Book::default());
        let for_connections = Arc::clone(&book);
        let server =
            Server::start(ANY_PORT, move |socket| connection(Arc::clone(&for_connections), socket, to)).await?;
        Ok(Self { server, book })
    }

    /// Returns the relay's address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Returns every answer so far, in the order of the requests.
    pub fn answers(&self) -> Vec<Relayed> {
        self.book.answers().clone()
    }
}

async fn connection(book: Arc<Book>, client: TcpStream, to: SocketAddr) {
    let Ok(agent) = TcpStream::connect(to).await else { return };
    let _ = agent.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_agent, to_agent) = agent.into_split();
    let wire = Mutex::new(Wire { book, request: Vec::new(), state: State::Head(Vec::new()), index: None });
    let take = |taken: fn(&mut Wire, &[u8])| {
        let wire = &wire;
        move |bytes: &[u8]| taken(&mut wire.lock().unwrap_or_else(PoisonError::into_inner), bytes)
    };
    // Whichever side closes first ends both: an agent whose client has left must learn of it, and the client reads a
    // torn answer as one.
    tokio::select! {
        () = pass(from_client, to_agent, take(Wire::request)) => {}
        () = pass(from_agent, to_client, take(Wire::answer)) => {}
    }
    wire.lock().unwrap_or_else(PoisonError::into_inner).closed();
}

/// Passes bytes on until one side closes or fails.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, taken: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await
        && read > 0
    {
        taken(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// What a connection has carried. Requests do not overlap: a client sends the next one after the whole answer.
struct Wire {
    book: Arc<Book>,
    /// The beginning of the request under way.
    request: Vec<u8>,
    state: State,
    /// The answer under way.
    index: Option<usize>,
}

/// Where an answer's bytes stand in its framing.
enum State {
    Head(Vec<u8>),
    Length(u64),
    /// The line before a chunk.
    Size(Vec<u8>),
    Chunk(u64),
    /// The line end after a chunk.
    Gap(u8),
    /// The lines after the last chunk.
    Trailer(Vec<u8>),
    /// To the end of the connection.
    Close,
    /// Nothing that can be read.
    Lost,
}

impl Wire {
    fn request(&mut self, bytes: &[u8]) {
        if self.request.is_empty() {
            self.book.answers().push(Relayed::default());
            self.index = Some(self.book.answers().len() - 1);
        }
        let room = MAX_REQUEST.saturating_sub(self.request.len());
        self.request.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn answer(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Head(_) | State::Size(_) | State::Trailer(_) => self.line(bytes[0]),
                State::Length(left) | State::Chunk(left) => {
                    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= taken as u64;
                    let is_over = *left == 0;
                    self.keep(&bytes[..taken]);
                    if is_over {
                        match self.state {
                            State::Chunk(_) => self.state = State::Gap(2),
                            _ => self.ended(true),
                        }
                    }
                    taken
                }
                State::Gap(left) => {
                    *left -= 1;
                    if *left == 0 {
                        self.state = State::Size(Vec::new());
                    }
                    1
                }
                State::Close => {
                    self.keep(bytes);
                    bytes.len()
                }
                State::Lost => return,
            };
            bytes = &bytes[used..];
        }
    }

    /// Takes a byte of a line or of a head.
    fn line(&mut self, byte: u8) -> usize {
        let (State::Head(line) | State::Size(line) | State::Trailer(line)) = &mut self.state else { return 1 };
        line.push(byte);
        if line.len() > MAX_HEAD {
            self.state = State::Lost;
            return 1;
        }
        let line = std::mem::take(line);
        match self.state {
            State::Head(_) if line.ends_with(b"\r\n\r\n") => self.head(&line),
            State::Size(_) if line.ends_with(b"\r\n") => {
                let text = String::from_utf8_lossy(&line);
                let size = u64::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16);
                self.state = match size {
                    Ok(0) => State::Trailer(Vec::new()),
                    Ok(size) => State::Chunk(size),
                    Err(_) => State::Lost,
                };
            }
            State::Trailer(_) if line == b"\r\n" => self.ended(true),
            State::Trailer(_) if line.ends_with(b"\r\n") => {}
            State::Head(_) => self.state = State::Head(line),
            State::Size(_) => self.state = State::Size(line),
            State::Trailer(_) => self.state = State::Trailer(line),
            _ => {}
        }
        1
    }

    fn head(&mut self, head: &[u8]) {
        let head = String::from_utf8_lossy(head);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let header = |name: &str| header(&head, name);
        let length = header("content-length").and_then(|length| length.parse().ok());
        let is_chunked = header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        self.state = match (status, is_chunked, length) {
            // "100 Continue" and its like announce the answer.
            (100..200, ..) => {
                self.state = State::Head(Vec::new());
                return;
            }
            (204 | 304, ..) | (_, false, Some(0)) => State::Length(0),
            (_, true, _) => State::Size(Vec::new()),
            (_, false, Some(length)) => State::Length(length),
            (_, false, None) => State::Close,
        };
        let request = self.request.clone();
        self.update(|answer| {
            answer.request = request;
            answer.status = status;
            answer.content_type = header("content-type");
            answer.content_encoding = header("content-encoding");
        });
        if matches!(self.state, State::Length(0)) {
            self.ended(true);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.update(|answer| {
            let room = MAX_BODY.saturating_sub(answer.body.len());
            answer.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            answer.is_cut |= bytes.len() > room;
        });
    }

    fn ended(&mut self, is_whole: bool) {
        self.update(|answer| answer.is_whole = Some(is_whole));
        self.index = None;
        self.request.clear();
        self.state = State::Head(Vec::new());
    }

    fn closed(&mut self) {
        if self.index.is_some() {
            // An end that is merely the connection's is no proof that nothing is missing.
            self.ended(false);
        }
    }

    fn update(&self, change: impl FnOnce(&mut Relayed)) {
        let mut answers = self.book.answers();
        if let Some(answer) = self.index.and_then(|index| answers.get_mut(index)) {
            change(answer);
        }
    }
}

/// Returns the value of a header in a head.
fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    let mut values = lines.filter_map(|line| line.split_once(':'));
    values.find(|(other, _)| other.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}
