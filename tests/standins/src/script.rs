//! Scripts: what an agent does with a request, step by step, down to the transport.

use std::time::Duration;

use bytes::Bytes;

use crate::gate::Gate;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Transfer-Encoding: chunked. Every `Bytes` step is one chunk.
    Chunked,
    /// Content-Length: the sum of the bytes of all steps, so a `Fin` between them ends the body early.
    ContentLength,
    /// The end of the connection ends the body.
    CloseDelimited,
}

/// One step of an agent.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes. `{{requestId}}`, `{{sessionId}}`, `{{agentId}}`, `{{prompt}}` and, in a detached run,
    /// `{{executionId}}` in them are replaced by the
    /// request's values; the agent makes up the request id.
    Bytes(Bytes),
    /// Sends the same bytes repeatedly, as fast as the client takes them, each time as one chunk.
    RepeatBytes {
        /// The bytes to send.
        bytes: Bytes,
        /// How many times.
        times: u64,
    },
    /// Does nothing for this time.
    Sleep(Duration),
    /// Waits until the test opens the gate.
    Gate(Gate),
    /// Does nothing until the client leaves.
    Hang,
    /// Closes the connection in good order (FIN), whatever is still missing.
    Fin,
    /// Resets the connection (RST).
    Rst,
    /// Repeats these steps until the client leaves.
    Forever(Vec<Step>),
    /// Sends nothing; notes what the agent is doing now, for an observer (see `AgentRequest::note`).
    Note(String),
}

/// The whole answer of an agent.
#[derive(Clone, Debug)]
pub struct Script {
    /// HTTP status.
    pub status: u16,
    /// The headers besides those of the framing. Placeholders in their values are replaced as in `Step::Bytes`.
    pub headers: Vec<(String, String)>,
    /// How the end of the body is marked.
    pub framing: Framing,
    /// The steps before the status line is sent.
    pub before_head: Vec<Step>,
    /// The body.
    pub steps: Vec<Step>,
    /// True if the connection serves further requests after the end; otherwise it is closed.
    pub keep_open: bool,
    /// The final answer that the steps contain, so that tests can look for it where it must not be.
    pub answer: Option<String>,
}

impl Script {
    /// Returns an empty answer with this status, chunked, on a connection that stays open.
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

    /// Returns an answer with status 200, this content type and these steps.
    pub fn ok(content_type: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(200).header("content-type", content_type).steps(steps)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the framing.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Appends these steps.
    #[must_use]
    pub fn steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// Appends a step.
    #[must_use]
    pub fn then(self, step: Step) -> Self {
        self.steps([step])
    }

    /// Inserts a step before the step at `index`.
    #[must_use]
    pub fn insert(mut self, index: usize, step: Step) -> Self {
        self.steps.insert(index, step);
        self
    }

    /// Adds a step before the status line.
    #[must_use]
    pub fn before_head(mut self, step: Step) -> Self {
        self.before_head.push(step);
        self
    }

    /// Inserts a step in the middle of the body: `script.midway(Step::Rst)`.
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

    /// Inserts a pause before every piece of the body.
    #[must_use]
    pub fn paced(mut self, pause: Duration) -> Self {
        let paced = |step: Step| match step {
            Step::Bytes(_) => vec![Step::Sleep(pause), step],
            _ => vec![step],
        };
        self.steps = self.steps.into_iter().flat_map(paced).collect();
        self
    }

    /// Cuts every `Bytes` step into pieces of `size` bytes, each a chunk. Placeholders must not be cut, so do not use
    /// them in such a script.
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
    /// Returns a step that sends the bytes of a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bytes(Bytes::from(text.into()))
    }

    /// Returns how many bytes of body this step sends.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::RepeatBytes { bytes, times } => (bytes.len() as u64).saturating_mul(*times),
            _ => 0,
        }
    }
}
