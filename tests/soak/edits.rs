//! Stored triggers, and what people do to them while they run.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use standins::DynamoDb;

use crate::plan::PROMPT;

const USER: &str = "user-1";

/// How a fire finds out what to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A schedule's event says everything, and there is no trigger item.
    Scheduled,
    /// A schedule's event says everything, and a trigger item takes precedence.
    WithItem,
    /// A schedule's event names the trigger, and its item alone says what to run.
    Stored,
    /// An event on a bus has one subscriber.
    Subscribed,
}

/// A change of a trigger item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Another model and another prompt.
    Edited,
    Disabled,
    Enabled,
    Tombstoned,
    Deleted,
    MadeInvalid,
    /// Its pattern matches no event of the source any more.
    Unmatched,
}

impl Kind {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..20) {
            0..7 => Self::Scheduled,
            7..11 => Self::WithItem,
            11..14 => Self::Stored,
            _ => Self::Subscribed,
        }
    }

    pub(crate) fn has_item(self) -> bool {
        self != Self::Scheduled
    }

    /// Returns true if nothing runs once the item is gone.
    pub(crate) fn needs_item(self) -> bool {
        matches!(self, Self::Stored | Self::Subscribed)
    }
}

impl Edit {
    /// Draws what is done to an item, and when, counted from the event's delivery.
    pub(crate) fn draw(kind: Kind, rng: &mut Rng) -> Vec<(Duration, Self)> {
        if !kind.has_item() || rng.u32(0..100) < 30 {
            return Vec::new();
        }
        let count = rng.usize(1..4);
        let mut edits: Vec<_> = (0..count)
            .map(|_| {
                let edit = match rng.u32(0..20) {
                    0..5 => Self::Edited,
                    5..9 => Self::Disabled,
                    9..11 => Self::Enabled,
                    11..14 => Self::Tombstoned,
                    14..17 => Self::Deleted,
                    17..18 => Self::MadeInvalid,
                    _ => Self::Unmatched,
                };
                // Many runs are over within tens of milliseconds.
                let within = [50, 300, 3000][rng.usize(0..3)];
                (Duration::from_millis(rng.u64(0..within)), edit)
            })
            .collect();
        edits.sort_by_key(|(after, _)| *after);
        edits
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Tombstoned => "tombstoned",
            Self::Deleted => "deleted",
            Self::MadeInvalid => "made invalid",
            Self::Unmatched => "unmatched",
        }
    }

    /// Changes the item of a trigger. Returns false if it is gone.
    pub(crate) fn apply(self, table: &DynamoDb, trigger_id: &str) -> bool {
        let (pk, sk) = (format!("TRIGGER#{USER}"), format!("TRIGGER#{trigger_id}"));
        if table.item(&pk, &sk).is_none() {
            return false;
        }
        let attributes = match self {
            Self::Edited => json!({"modelId": "model-2", "prompt": format!("{PROMPT} {trigger_id}, edited")}),
            Self::Disabled => json!({"enabled": false}),
            Self::Enabled => json!({"enabled": true}),
            Self::Tombstoned => json!({"deletedAt": "2026-01-31T07:00:00Z"}),
            Self::MadeInvalid => json!({"prompt": 7}),
            Self::Unmatched => {
                let pattern = json!({"source": ["another"]});
                json!({"eventConfig": {"eventSourceId": source_id(trigger_id), "eventPattern": pattern}})
            }
            Self::Deleted => {
                table.delete(&pk, &sk);
                return true;
            }
        };
        table.update(&pk, &sk, &attributes);
        true
    }
}

/// The source of a trigger's events.
pub(crate) fn source(trigger_id: &str) -> String {
    format!("com.example.{trigger_id}")
}

fn source_id(trigger_id: &str) -> String {
    format!("com-example-{trigger_id}")
}

/// The item of a trigger.
pub(crate) fn item(kind: Kind, trigger_id: &str, prompt: &str, rerun: bool) -> Value {
    let mut item = json!({"id": trigger_id, "userId": USER, "name": "Soak", "enabled": true, "agentId": "agent-1",
        "prompt": prompt});
    if kind == Kind::Subscribed {
        item["type"] = json!("event");
        item["eventConfig"] = json!({"eventSourceId": source_id(trigger_id)});
    }
    if rerun {
        item["onInterrupted"] = json!("rerun");
    }
    item
}
