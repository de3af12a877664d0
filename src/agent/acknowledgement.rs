//! Acknowledgements: the answers of agents that take over a detached run (docs/long-runs.md). An acknowledgement
//! repeats the execution id, so that no model's JSON can acknowledge by chance.

use serde_json::Value;

use crate::{domain::answer::Acknowledgement, json::fields::whole_number};

/// The longest body that may be an acknowledgement, in bytes.
const LONGEST: usize = 4 * 1024;

/// The beginning of a body, kept until it is too long for an acknowledgement.
#[derive(Debug, Default)]
pub(super) struct ShortBody {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl ShortBody {
    /// Takes the next bytes. A body that does not begin like an object, or is too long, is given up: from then on
    /// nothing of it is kept.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.is_too_long {
            return;
        }
        let begins = if self.bytes.is_empty() { bytes } else { &self.bytes };
        let is_object = begins.trim_ascii_start().first().is_none_or(|first| *first == b'{');
        if !is_object || self.bytes.len() + bytes.len() > LONGEST {
            *self = Self { bytes: Vec::new(), is_too_long: true };
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the acknowledgement that the whole body is, or `None` if it is none. It must be JSON, and the document
    /// itself or the metadata of an A2A task in it must have the `status` `accepted` and this `executionId`.
    pub(super) fn acknowledges(&self, execution_id: &str) -> Option<Acknowledgement> {
        if self.is_too_long {
            return None;
        }
        let body: Value = serde_json::from_slice(&self.bytes).ok()?;
        let metadata = ["/result/metadata", "/result/task/metadata"].into_iter().filter_map(|path| body.pointer(path));
        std::iter::once(&body).chain(metadata).find_map(|document| {
            let text = |name: &str| document.get(name).and_then(Value::as_str);
            let is_one = text("status") == Some("accepted") && text("executionId") == Some(execution_id);
            is_one.then(|| Acknowledgement { heartbeat_seconds: heartbeat_of(document) })
        })
    }
}

/// Returns the interval in seconds that an acknowledgement promises as `heartbeatSeconds`, a number or a text. A value
/// that is no whole number from 1 on, or does not fit 32 bits, promises nothing, `None`.
fn heartbeat_of(document: &Value) -> Option<u32> {
    let seconds = document.get("heartbeatSeconds").and_then(whole_number)?;
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, step: usize) -> Option<Acknowledgement> {
        let mut short = ShortBody::default();
        body.as_bytes().chunks(step).for_each(|bytes| short.feed(bytes));
        short.acknowledges("e-1")
    }

    #[test]
    fn an_acknowledgement_repeats_the_execution_id() {
        let promised = |heartbeat_seconds| Some(Acknowledgement { heartbeat_seconds });
        let long = format!(r#"{{"status":"accepted","executionId":"e-1","x":"{}"}}"#, "x".repeat(LONGEST));
        for (body, expected) in [
            (r#"{"status":"accepted","executionId":"e-1","heartbeatSeconds":120}"#, promised(Some(120))),
            (" {\"executionId\":\"e-1\",\n\"status\":\"accepted\",\"heartbeatSeconds\":\"60\"}\n", promised(Some(60))),
            (r#"{"status":"accepted","executionId":"e-1"}"#, promised(None)),
            (r#"{"status":"accepted","executionId":"e-1","heartbeatSeconds":0}"#, promised(None)),
            (r#"{"status":"accepted","executionId":"e-1","heartbeatSeconds":-5}"#, promised(None)),
            (
                r#"{"jsonrpc":"2.0","result":{"metadata":{"status":"accepted","executionId":"e-1","heartbeatSeconds":9}}}"#,
                promised(Some(9)),
            ),
            (r#"{"status":"accepted","executionId":"e-2"}"#, None),
            (r#"{"status":"accepted"}"#, None),
            (r#"{"executionId":"e-1"}"#, None),
            (r#"{"status":"completed","executionId":"e-1"}"#, None),
            (r#"[{"status":"accepted","executionId":"e-1"}]"#, None),
            (r#"data: {"status":"accepted","executionId":"e-1"}"#, None),
            (r#"{"status":"accepted","executionId":"e-1""#, None),
            (&long, None),
            ("", None),
        ] {
            for step in [1, 7, 100_000] {
                assert_eq!(read(body, step), expected, "{body}");
            }
        }
    }
}
