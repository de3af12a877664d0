//! A trigger item as a run saw it: its policy, its health and its version.

use serde_json::{Map, Value};

use crate::{
    domain::{health::Health, policy::Policy},
    json::fields::{Fields, ID_LIMIT},
    redact::cut,
};

/// The part of a trigger item that admission and results rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerSnapshot {
    /// When and how long it may run.
    pub policy: Policy,
    /// How it fares.
    pub(crate) health: Health,
    /// The item's version, where its writer counts them: `version`, else `updatedAt`.
    pub version: Option<String>,
}

/// What a run knows of its trigger item.
#[derive(Debug, Clone, Default)]
pub enum TriggerKnowledge {
    /// Nobody has read it.
    #[default]
    Unread,
    /// There is none.
    Absent,
    /// It was read.
    Present(Box<TriggerSnapshot>),
}

impl TriggerSnapshot {
    /// Reads the snapshot of an item. Problems of its policy go into `fields`, which must be the item's own.
    pub(crate) fn read(fields: &mut Fields<'_>, item: &Map<String, Value>) -> Self {
        let version = ["version", "updatedAt"].into_iter().find_map(|name| item.get(name));
        Self {
            policy: Policy::read(fields),
            health: Health::read(item),
            version: version.and_then(|version| match version {
                Value::String(text) => Some(cut(text, ID_LIMIT).to_owned()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            }),
        }
    }
}

impl TriggerKnowledge {
    /// Reads an item, if there is one. A policy that is not understood has its defaults: the execution must end.
    pub(crate) fn read(item: Option<&Value>) -> Self {
        let Some(Value::Object(item)) = item else { return Self::Absent };
        Self::Present(Box::new(TriggerSnapshot::read(&mut Fields::new("$", item), item)))
    }
}
