//! A look: the message by which a detached run is looked at later. It goes to the settle queue and comes back after its
//! delay.

use serde::{Deserialize, Serialize};

/// The purpose of a look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Find out whether the agent's lease is over.
    #[default]
    Timer,
    /// End the run, because somebody asked for its end and the agent had time to stop.
    Cancel,
    /// Do what is left to do after the run's end: count it, and stop the agent's session.
    End,
}

/// A look at an execution. It names an attempt by its report key, so that a look of an earlier attempt, or one that
/// somebody forged, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// The trigger.
    pub trigger_id: String,
    /// The execution.
    pub execution_id: String,
    /// The report key of the attempt.
    pub report_key: String,
    /// The purpose.
    #[serde(default)]
    pub purpose: Purpose,
    /// The number of looks in a row that failed before this one.
    #[serde(default)]
    pub tries: u32,
    /// The time of the end that an [`Purpose::End`] counts, as its record has it. The look is sent before that end is
    /// written. If another end was written instead, its own look counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_end_at: Option<String>,
}

/// The message that carries a look.
#[derive(Serialize, Deserialize)]
struct Message<L> {
    #[serde(rename = "_look")]
    look: L,
}

impl Look {
    /// Returns the look as the text of a message: a JSON object with the look under `_look`.
    pub fn to_message(&self) -> String {
        // A map of texts can always be written.
        serde_json::to_string(&Message { look: self }).unwrap_or_default()
    }

    /// Reads the text of a message. Returns `None` if it is no look, or one that is not understood.
    pub fn read(message: &str) -> Option<Self> {
        // Most messages are no looks, and are not parsed twice.
        if !message.contains("\"_look\"") {
            return None;
        }
        serde_json::from_str(message).ok().map(|Message { look }| look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_reads_back_as_it_was_sent() {
        for purpose in [Purpose::Timer, Purpose::Cancel, Purpose::End] {
            let look = Look {
                trigger_id: "t\"1".to_owned(),
                execution_id: "e".to_owned(),
                report_key: "k".to_owned(),
                purpose,
                tries: 2,
                counts_end_at: (purpose == Purpose::End).then(|| "2026-01-31T07:00:00.000Z".to_owned()),
            };
            assert_eq!(Look::read(&look.to_message()), Some(look));
        }
        let bare = r#"{"_look":{"triggerId":"t","executionId":"e","reportKey":"k"}}"#;
        assert_eq!(Look::read(bare).map(|look| (look.purpose, look.tries)), Some((Purpose::Timer, 0)));
        for other in ["", "{}", r#"{"detail":"\"_look\""}"#, r#"{"_look":{"triggerId":"t"}}"#, r#"{"look":{}}"#] {
            assert_eq!(Look::read(other), None, "{other}");
        }
    }
}
