//! What an agent does with a request, step by step, down to the transport.

use std::time::Duration;

use bytes::Bytes;

use crate::gate::Gate;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Transfer-Encoding: chunked; every `Bytes` step is one chunk.
    Chunked,
    /// Content-Length: the sum of the bytes of all steps, so `Fin` between them ends the body early.
    ContentLength,
    /// The connection's end is the body's.
    CloseDelimited,
}

/// One thing an agent does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes. `{{requestId}}`, `{{sessionId}}`, `{{agentId}}` and `{{prompt}}` in them are the request's, the
    /// first made up by the agent.
    Bytes(Bytes),
    /// Sends the same bytes over and over, as fast as the client takes them; each time is a chunk.
    RepeatBytes {
        /// The bytes of one time.
        bytes: Bytes,
        /// How many times.
        times: u64,
    },
    /// Does nothing for this time.
    Sleep(Duration),
    /// Waits until the test releases the gate.
    Gate(Gate),
    /// Does nothing until the client leaves.
    Hang,
    /// Closes the connection in good order (FIN), whatever is missing.
    Fin,
    /// Resets the connection (RST).
    Rst,
    /// Does these steps again and again until the client leaves.
    Forever(Vec<Step>),
    /// Not sent: what the agent is doing now, for who watches (see `AgentRequest::note`).
    Note(String),
}

/// An agent's whole answer.
#[derive(Clone, Debug)]
pub struct Script {
    /// HTTP status.
    pub status: u16,
    /// Headers beside those of the framing; placeholders in their values are filled in as in `Step::Bytes`.
    pub headers: Vec<(String, String)>,
    /// How the body's end is told.
    pub framing: Framing,
    /// Done before the status line is sent.
    pub before_head: Vec<Step>,
    /// The body.
    pub steps: Vec<Step>,
    /// Whether the connection serves further requests after the end; else it is closed.
    pub keep_open: bool,
    /// The final answer the steps hold, so that it can be looked for where it must not be.
    pub answer: Option<String>,
}

impl Script {
    /// A status with nothing in it, chunked, on a connection that stays open.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            framing: Framing::Chunked,
            before_head: Vec::new(),
            steps: Vec::new(),
            keep_open: true,
            answer: None,
        }
    }

    /// 200 with this content type and these steps.
    pub fn ok(content_type: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(200).header("content-type", content_type).steps(steps)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this framing.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// With these steps at the end.
    #[must_use]
    pub fn steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// With one more step at the end.
    #[must_use]
    pub fn then(self, step: Step) -> Self {
        self.steps([step])
    }

    /// With this step put in before the step at `index`.
    #[must_use]
    pub fn insert(mut self, index: usize, step: Step) -> Self {
        self.steps.insert(index, step);
        self
    }

    /// With this step before the status line.
    #[must_use]
    pub fn before_head(mut self, step: Step) -> Self {
        self.before_head.push(step);
        self
    }

    /// With a step put in at the middle of the body: `script.midway(Step::Rst)`.
    #[must_use]
    pub fn midway(self, step: Step) -> Self {
        let middle = self.steps.len() / 2;
        self.insert(middle, step)
    }

    /// Closes the connection after the end.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.keep_open = false;
        self
    }

    /// With a pause before every piece of the body.
    #[must_use]
    pub fn paced(mut self, pause: Duration) -> Self {
        let paced = |step: Step| match step {
            Step::Bytes(_) => vec![Step::Sleep(pause), step],
            _ => vec![step],
        };
        self.steps = self.steps.into_iter().flat_map(paced).collect();
        self
    }

    /// With every `Bytes` step cut into pieces of `size` bytes, each its own chunk. Placeholders must not be cut: give
    /// them no values that depend on the request.
    #[must_use]
    pub fn split(mut self, size: usize) -> Self {
        let split = |step: Step| match step {
            Step::Bytes(bytes) => bytes.chunks(size.max(1)).map(|piece| Step::Bytes(bytes.slice_ref(piece))).collect(),
            _ => vec![step],
        };
        self.steps = self.steps.into_iter().flat_map(split).collect();
        self
    }

    pub(crate) fn answering(mut self, answer: &str) -> Self {
        self.answer = Some(answer.to_owned());
        self
    }
}

impl Step {
    /// Bytes of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bytes(Bytes::from(text.into()))
    }

    /// How many bytes of body this step is.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::RepeatBytes { bytes, times } => (bytes.len() as u64).saturating_mul(*times),
            _ => 0,
        }
    }
}
