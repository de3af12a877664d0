//! An agent that sends many slow streams at once, and costs little itself: one thread has one timer for all of them, and
//! writes each piece with one call. The agent of the stand-ins has a task, a timer and a record of its own for each stream.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The timer goes off so often. The streams are spread over it, so that they are not all sent to at once.
const TICK: Duration = Duration::from_millis(1);

/// What each stream sends: the lines at its beginning, its deltas at equal intervals, and the lines at its end.
#[derive(Debug, Clone)]
pub struct Trickle {
    /// The lines before the deltas.
    pub begin: String,
    /// The delta.
    pub delta: String,
    /// The number of deltas.
    pub deltas: u64,
    /// The time from a delta to the next.
    pub interval: Duration,
    /// The lines after them.
    pub end: String,
}

/// The agent. Its threads live as long as the process.
#[derive(Debug)]
pub struct TrickleAgent {
    addr: SocketAddr,
    lateness: Arc<AtomicU64>,
}

struct Stream {
    socket: TcpStream,
    left: u64,
    next: Instant,
}

impl TrickleAgent {
    /// Starts the agent on a free port of loopback. It answers every request with the same stream.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn start(trickle: Trickle) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let lateness = Arc::new(AtomicU64::new(0));
        let (begun, streams) = mpsc::channel();
        let (to_begin, to_send, late) = (trickle.clone(), trickle, Arc::clone(&lateness));
        thread::spawn(move || accept(&listener, &to_begin, &begun));
        thread::spawn(move || send(&streams, &to_send, &late));
        Self { addr, lateness }
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the longest time by which a delta was sent too late. If it is long, the agent was too slow for its streams.
    pub fn lateness(&self) -> Duration {
        Duration::from_micros(self.lateness.load(Ordering::Relaxed))
    }
}

/// Reads each request, and hands its connection on once the stream has begun.
fn accept(listener: &TcpListener, trickle: &Trickle, begun: &mpsc::Sender<Stream>) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let begin = format!("{head}{}", chunk(&trickle.begin));
    for socket in listener.incoming().flatten() {
        let began = begin_stream(socket, begin.as_bytes());
        let Ok(socket) = began else { continue };
        let stream = Stream { socket, left: trickle.deltas, next: Instant::now() + trickle.interval };
        if begun.send(stream).is_err() {
            return;
        }
    }
}

fn begin_stream(mut socket: TcpStream, begin: &[u8]) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    let (mut request, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while !is_whole(&request) {
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
    socket.write_all(begin)?;
    Ok(socket)
}

/// Returns true if a request with a content-length has come whole.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    body.len() >= length.unwrap_or_default()
}

/// Sends the deltas that are due at each tick, to the streams in the order in which they are due.
fn send(begun: &mpsc::Receiver<Stream>, trickle: &Trickle, lateness: &AtomicU64) {
    let (delta, end) = (chunk(&trickle.delta), format!("{}0\r\n\r\n", chunk(&trickle.end)));
    // All have the same interval, so one that was sent to is due after all others.
    let mut streams = std::collections::VecDeque::<Stream>::new();
    let mut tick = Instant::now();
    loop {
        // A new one is due after the last: its first delta comes a whole interval after its beginning.
        streams.extend(begun.try_iter());
        let now = Instant::now();
        while streams.front().is_some_and(|stream| stream.next <= now) {
            let Some(mut stream) = streams.pop_front() else { break };
            let late = u64::try_from((now - stream.next).as_micros()).unwrap_or(u64::MAX);
            lateness.fetch_max(late, Ordering::Relaxed);
            let piece = if stream.left == 0 { &end } else { &delta };
            let is_sent = stream.socket.write_all(piece.as_bytes()).is_ok();
            if is_sent && stream.left > 0 {
                stream.left -= 1;
                stream.next += trickle.interval;
                streams.push_back(stream);
            }
        }
        tick += TICK;
        match tick.checked_duration_since(Instant::now()) {
            Some(rest) => thread::sleep(rest),
            None => tick = Instant::now(),
        }
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
