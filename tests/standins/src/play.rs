//! Plays a script on a socket.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::script::{Framing, Script, Step};

/// An observer that is told about every completed step.
pub(crate) trait Progress {
    fn sent(&self, bytes: u64, steps: u64);
    fn note(&self, text: &str);
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything was sent, and the connection may serve another request.
    Open,
    /// The connection is to be closed.
    Closed,
    /// The connection is to be reset; dropping it now does that.
    Reset,
    /// The client left before the end.
    ClientLeft,
}

/// Plays `script`. `fill` replaces the placeholders in its bytes.
pub(crate) async fn play(
    socket: &mut TcpStream,
    unread: &mut BytesMut,
    script: &Script,
    fill: &(dyn Fn(&Bytes) -> Bytes + Sync),
    progress: &(impl Progress + Sync),
) -> End {
    let mut player = Player { socket, unread, framing: script.framing, fill, progress };
    let played = async {
        player.steps(&script.before_head).await?;
        player.head(script).await?;
        player.steps(&script.steps).await?;
        if script.framing == Framing::Chunked {
            player.socket.write_all(b"0\r\n\r\n").await?;
        }
        player.socket.flush().await?;
        Ok::<_, Stop>(())
    };
    match played.await {
        Ok(()) if script.keep_open && script.framing != Framing::CloseDelimited => End::Open,
        Ok(()) => End::Closed,
        Err(Stop::Close) => End::Closed,
        Err(Stop::Reset) => {
            // With a linger time of zero, closing sends RST and discards unsent data.
            let _ = socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            End::Reset
        }
        Err(Stop::Left) => End::ClientLeft,
    }
}

enum Stop {
    Close,
    Reset,
    Left,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Left
    }
}

struct Player<'a, P> {
    socket: &'a mut TcpStream,
    unread: &'a mut BytesMut,
    framing: Framing,
    fill: &'a (dyn Fn(&Bytes) -> Bytes + Sync),
    progress: &'a P,
}

impl<P: Progress + Sync> Player<'_, P> {
    async fn head(&mut self, script: &Script) -> Result<(), Stop> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", script.status, reason(script.status));
        for (name, value) in &script.headers {
            let value = (self.fill)(&Bytes::from(value.clone()));
            head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(&value)));
        }
        match self.framing {
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            Framing::ContentLength => {
                let filled = |step: &Step| match step {
                    Step::Bytes(bytes) => (self.fill)(bytes).len() as u64,
                    other => other.len(),
                };
                head.push_str(&format!("content-length: {}\r\n", script.steps.iter().map(filled).sum::<u64>()));
            }
            Framing::CloseDelimited => {}
        }
        if !script.keep_open || self.framing == Framing::CloseDelimited {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        Ok(self.socket.write_all(head.as_bytes()).await?)
    }

    async fn steps(&mut self, steps: &[Step]) -> Result<(), Stop> {
        for step in steps {
            match step {
                Step::Forever(steps) => loop {
                    for step in steps {
                        self.step(step).await?;
                    }
                    tokio::task::yield_now().await;
                },
                step => self.step(step).await?,
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Bytes(bytes) => {
                let bytes = (self.fill)(bytes);
                self.socket.write_all(&self.framed(&bytes)).await?;
                self.progress.sent(bytes.len() as u64, 1);
            }
            Step::RepeatBytes { bytes, times } => self.repeat(bytes, *times).await?,
            Step::Sleep(time) => self.unless_left(tokio::time::sleep(*time)).await?,
            Step::Gate(gate) => self.unless_left(gate.pass()).await?,
            Step::Hang => self.unless_left(std::future::pending()).await?,
            Step::Fin => return Err(Stop::Close),
            Step::Rst => return Err(Stop::Reset),
            Step::Note(text) => self.progress.note(text),
            // A step that never ends inside another one: the outer one repeats for ever anyway.
            Step::Forever(_) => {}
        }
        Ok(())
    }

    fn framed(&self, bytes: &Bytes) -> Bytes {
        if self.framing != Framing::Chunked || bytes.is_empty() {
            return bytes.clone();
        }
        let mut chunk = BytesMut::with_capacity(bytes.len() + 20);
        chunk.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        chunk.freeze()
    }

    async fn repeat(&mut self, bytes: &Bytes, times: u64) -> Result<(), Stop> {
        let chunk = self.framed(bytes);
        let per_write = (256 * 1024 / chunk.len().max(1)).max(1) as u64;
        let many = chunk.repeat(usize::try_from(per_write.min(times)).unwrap_or(1));
        let mut left = times;
        while left > 0 {
            let now = left.min(per_write);
            let length = chunk.len() * usize::try_from(now).unwrap_or(1);
            self.socket.write_all(&many[..length]).await?;
            self.progress.sent(bytes.len() as u64 * now, now);
            left -= now;
        }
        Ok(())
    }

    /// Waits, but no longer than the client stays connected.
    async fn unless_left(&mut self, wait: impl Future<Output = ()>) -> Result<(), Stop> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return Ok(()),
                read = self.socket.read_buf(self.unread) => match read {
                    Ok(0) | Err(_) => return Err(Stop::Left),
                    Ok(_) => {}
                }
            }
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "As Asked",
    }
}
