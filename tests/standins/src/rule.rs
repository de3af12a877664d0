//! A rule of an event bus: the events that it passes on, and the payload that its target is invoked with.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::input_template::lookup;

/// The variable that stands for the whole event as JSON. It can stand only where a value does.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html>
const EVENT: &str = "<aws.events.event.json>";

/// A rule's definition, as [`crate::Template::rules`] reads it.
#[derive(Clone, Debug, Default)]
pub struct RuleDefinition {
    /// The logical id of the rule.
    pub id: String,
    /// The name of its event bus, or `None` for the default one.
    pub bus: Option<String>,
    /// The event pattern.
    pub pattern: Value,
    /// The variables of the input template: the name and the path of each.
    pub input_paths: BTreeMap<String, String>,
    /// The input template of its target. Without one the target gets the event.
    pub input_template: Option<String>,
}

impl RuleDefinition {
    /// Returns the payload that an event becomes.
    ///
    /// # Errors
    /// If the template holds a variable that this stand-in does not know, or makes no JSON.
    pub fn payload(&self, event: &Value) -> Result<String, String> {
        let Some(template) = &self.input_template else { return Ok(event.to_string()) };
        let template = &self.with_variables(template, event)?;
        let rest = template.replace(EVENT, "0");
        if rest.contains('<') {
            return Err(format!("{}: a variable is not known in {template}", self.id));
        }
        let whole: Value = serde_json::from_str(&rest).map_err(|e| format!("{}: {e} in {template}", self.id))?;
        if !whole.is_object() {
            return Err(format!("{}: {template} makes no object", self.id));
        }
        Ok(template.replace(EVENT, &event.to_string()))
    }

    /// Fills in the variables that paths name. A text has no quotation marks of its own: the template has them.
    fn with_variables(&self, template: &str, event: &Value) -> Result<String, String> {
        let mut filled = template.to_owned();
        for (name, path) in &self.input_paths {
            let value = lookup(path, event)?;
            let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            filled = filled.replace(&format!("<{name}>"), &text.unwrap_or_default());
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_stands_where_a_value_does() {
        let event = json!({"id": "1", "detail": {"text": "<a>"}});
        let payload = |template: Option<&str>| {
            let rule = RuleDefinition { input_template: template.map(str::to_owned), ..RuleDefinition::default() };
            rule.payload(&event).map(|text| serde_json::from_str::<Value>(&text).unwrap())
        };
        assert_eq!(payload(None), Ok(event.clone()));
        let wrapped = r#"{"_from": "stack-bus", "_event": <aws.events.event.json>}"#;
        assert_eq!(payload(Some(wrapped)), Ok(json!({"_from": "stack-bus", "_event": event})));
        let rule = RuleDefinition {
            input_paths: [("text".to_owned(), "$.detail.text".to_owned())].into(),
            input_template: Some(r#"{"a": "<text>"}"#.to_owned()),
            ..RuleDefinition::default()
        };
        let payload_of = |text: &str| rule.payload(&json!({"detail": {"text": text}}));
        assert_eq!(payload_of("b").as_deref(), Ok(r#"{"a": "b"}"#));
        for wrong in [r#"{"a": <unknown>}"#, r#"{"a": "#, "<aws.events.event.json>"] {
            assert!(payload(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
