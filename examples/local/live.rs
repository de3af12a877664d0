//! The agents' answers while they stream by, and what was recognised in them. A relay stands between the function and an
//! agent on this machine; it passes every byte on as it is.

use std::borrow::Cow;
use std::net::SocketAddr;

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::store::execution_item as record;
use serde_json::Value;
use standins::{Relay, Relayed};

use crate::recognised::{self, Answer};
use crate::report::{executions_of, say, text};

/// The number of answers that are explained.
const MOST_ANSWERS: usize = 50;

/// The answers seen so far.
pub(crate) struct Live {
    relay: Option<Relay>,
    protocol: Option<String>,
    readers: Vec<Reader>,
}

/// What shows the text of one answer.
struct Reader {
    answer: Relayed,
    decoder: Option<Decoder>,
    taken: usize,
}

impl Live {
    /// Puts a relay in front of the agent at `url` and returns it with the URL that leads through it. An agent that is
    /// not on this machine is called directly: behind a relay AgentCore would not be AgentCore, and a signature would be
    /// for the wrong host.
    ///
    /// # Errors
    /// If no agent listens there.
    pub(crate) async fn before(url: &str, protocol: Option<String>) -> Result<(Self, String), String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Ok((Self { relay: None, protocol, readers: Vec::new() }, url.to_owned()));
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let host_and_port = if host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
            Cow::Borrowed(host)
        } else {
            Cow::Owned(format!("{host}:80"))
        };
        let nobody = |e: &dyn std::fmt::Display| format!("no agent answers at {url}: {e}. Start it first");
        let addresses: Vec<SocketAddr> =
            tokio::net::lookup_host(&*host_and_port).await.map_err(|e| nobody(&e))?.collect();
        let mut refused = "its name has no address".to_owned();
        for address in addresses {
            match Relay::start(address).await {
                Ok(relay) => {
                    let through = format!("http://{}{path}", relay.addr());
                    return Ok((Self { relay: Some(relay), protocol, readers: Vec::new() }, through));
                }
                Err(e) => refused = e.to_string(),
            }
        }
        Err(nobody(&refused))
    }

    /// Reads what has arrived since the last call.
    pub(crate) fn update(&mut self) {
        let Some(relay) = &self.relay else { return };
        for (at, answer) in relay.answers().into_iter().enumerate() {
            if answer.status == 0 {
                continue;
            }
            while self.readers.len() <= at {
                self.readers.push(Reader { answer: Relayed::default(), decoder: None, taken: 0 });
            }
            let reader = &mut self.readers[at];
            if reader.taken == 0 && reader.decoder.is_none() && answer.status < 300 && answer.content_encoding.is_none()
            {
                reader.decoder = Decoder::new(answer.content_type.as_deref()).ok();
            }
            if let Some(decoder) = &mut reader.decoder {
                decoder.feed(&answer.body[reader.taken..]);
                reader.taken = answer.body.len();
            }
            reader.answer = answer;
        }
    }

    /// Returns the text of a session's latest answer.
    pub(crate) fn text(&self, session: &str) -> Option<String> {
        let reader = self.readers.iter().rfind(|reader| reader.answer.is_of(session))?;
        Some(reader.decoder.as_ref()?.text().into_owned()).filter(|text| !text.is_empty())
    }

    /// Says what was recognised in the answers, and why each ended as it did.
    pub(crate) fn explain(&self, stack: &standins::Stack) {
        let Some(relay) = &self.relay else {
            say(
                "\nThe agent is not on this machine, so its answer went straight to the function. The record above says",
            );
            say("which protocol was recognised and how it ended; docs/agents.md says what each protocol needs.");
            return;
        };
        let answers: Vec<_> = relay.answers().into_iter().filter(|answer| answer.status != 0).collect();
        if answers.is_empty() {
            return;
        }
        say("\nWhat was recognised in the answers (docs/agents.md has the rules):");
        let rows = executions_of(stack);
        for (at, answer) in answers.iter().enumerate().take(MOST_ANSWERS) {
            // MCP has no member for the session. Where there is one answer to each execution, the order says whose it is.
            let in_order = rows.get(at).filter(|_| rows.len() == answers.len());
            say(&format!("\n{}", heading(answer, &rows, in_order)));
            let whole = Answer {
                status: answer.status,
                content_type: answer.content_type.clone(),
                body: answer.body.clone(),
                is_whole: answer.is_whole == Some(true),
            };
            let lines = match (&answer.content_encoding, answer.is_cut) {
                _ if is_acknowledged(answer, &rows) => {
                    vec!["an acknowledgement: the agent worked on, and its reports decided the rest".to_owned()]
                }
                (Some(encoding), _) => vec![format!("encoded as {encoding}; the record says how it was read")],
                (None, true) => vec!["too long to explain; the record says how it was read".to_owned()],
                (None, false) => recognised::explain(&whole, self.protocol.as_deref()),
            };
            lines.iter().for_each(|line| say(&format!("  {line}")));
        }
        if answers.len() > MOST_ANSWERS {
            say(&format!("\n{} further answers are not explained.", answers.len() - MOST_ANSWERS));
        }
    }
}

/// Returns true if an answer acknowledged a detached run.
fn is_acknowledged(answer: &Relayed, rows: &[Value]) -> bool {
    let is_of = |row: &&Value| answer.is_of(row[record::SESSION_ID].as_str().unwrap_or_default());
    rows.iter().find(is_of).is_some_and(|row| row[record::DETACHED_AT].is_string())
}

/// Names an answer by its execution and shows what that was recorded as.
fn heading(answer: &Relayed, rows: &[Value], in_order: Option<&Value>) -> String {
    let row = rows.iter().find(|row| answer.is_of(row[record::SESSION_ID].as_str().unwrap_or_default()));
    let Some(row) = row.or(in_order) else { return format!("an answer with HTTP {}", answer.status) };
    let how = match (row[record::ERROR_TYPE].as_str(), row[record::FINISH_REASON].as_str()) {
        (Some(kind), Some(reason)) => format!("{kind}, {reason}"),
        (Some(kind), None) => kind.to_owned(),
        (None, _) => text(&row[record::STATUS]),
    };
    format!("{} to {}: {how}", text(&row[record::AGENT_ID]), text(&row[record::TRIGGER_ID]))
}
