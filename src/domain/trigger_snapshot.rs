//! A trigger item as a run read it: its policy, its health and its version.

use serde_json::{Map, Value};

use crate::{
    domain::{health::Health, policy::Policy},
    json::fields::{Fields, ID_LIMIT},
    redact::cut,
};

/// The part of a trigger item on which a run's admission and its results depend.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerSnapshot {
    /// The limits for the trigger's runs.
    pub policy: Policy,
    /// The trigger's health.
    pub(crate) health: Health,
    /// The item's version: its `version` or otherwise its `updatedAt`, if the item's writer keeps one of them.
    pub version: Option<String>,
}

/// The knowledge of a run about its trigger item.
#[derive(Debug, Clone, Default)]
pub enum TriggerKnowledge {
    /// The item has not been read.
    #[default]
    Unread,
    /// There is no item.
    Absent,
    /// The item was read.
    Present(Box<TriggerSnapshot>),
}

impl TriggerSnapshot {
    /// Reads the snapshot of an item. Problems of its policy are added to `fields`, which must be a reader of that
    /// item. The version is `version`, or `updatedAt` if that is absent. A text is cut to 256 bytes. A version that is
    /// neither a text nor a number is left out.
    pub(crate) fn read(fields: &mut Fields<'_>, item: &Map<String, Value>) -> Self {
        let version = ["version", "updatedAt"].into_iter().find_map(|name| fields.value(name)).cloned();
        Self {
            policy: Policy::read(fields),
            health: Health::read(item),
            version: version.and_then(|version| match version {
                Value::String(text) => Some(cut(&text, ID_LIMIT).to_owned()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            }),
        }
    }
}

impl TriggerKnowledge {
    /// Reads an item, if there is one. Anything that is no object counts as no item. Fields of its policy that are not
    /// understood get their defaults, because the execution must end in any case.
    pub(crate) fn read(item: Option<&Value>) -> Self {
        let Some(Value::Object(item)) = item else { return Self::Absent };
        Self::Present(Box::new(TriggerSnapshot::read(&mut Fields::new("$", item), item)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_version_is_the_items_or_the_time_of_its_last_change() {
        for (item, expected) in [
            (json!({}), None),
            (json!({"version": 7, "updatedAt": "then"}), Some("7")),
            (json!({"version": "v7"}), Some("v7")),
            (json!({"updatedAt": "then"}), Some("then")),
            (json!({"version": null, "updatedAt": "then"}), Some("then")),
            (json!({"version": [], "updatedAt": "then"}), None),
        ] {
            let object = item.as_object().unwrap();
            let snapshot = TriggerSnapshot::read(&mut Fields::new("$", object), object);
            assert_eq!(snapshot.version.as_deref(), expected, "{item}");
        }
    }
}
