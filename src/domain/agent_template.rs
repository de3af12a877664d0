//! The request body of an agent that speaks a protocol of its own: a JSON template whose strings hold placeholders.

use serde_json::{Map, Value};

use crate::json::fields::{member, member_at, push};

/// The names that may stand in double braces.
const NAMES: [&str; 6] = ["prompt", "sessionId", "executionId", "userId", "agentId", "modelId"];

/// A template. Its placeholders are all known unless a problem was found when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

/// The values of one call's placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Placeholders<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The session.
    pub session_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
    /// The user the agent acts for.
    pub user_id: &'a str,
    /// The agent.
    pub agent_id: &'a str,
    /// The model, where one was named.
    pub model_id: Option<&'a str>,
}

impl Template {
    /// Reads a template that stands at `path`. Adds a problem for each word in double braces that is none of [`NAMES`],
    /// because it is most likely misspelt, and a problem if no string holds `{{prompt}}`. The template is returned even
    /// with problems.
    pub(crate) fn read(template: &Value, path: &str, problems: &mut Vec<String>) -> Self {
        let mut has_prompt = false;
        check(template, path, &mut has_prompt, problems);
        if !has_prompt {
            push(problems, format!("{path}: must hold {{{{prompt}}}} in one of its strings"));
        }
        Self(template.clone())
    }

    /// Returns the template with its placeholders filled in, once: placeholders within a value are left as they are.
    /// Two rules hold for a placeholder without a value. A member or element that is nothing else is left out, and a
    /// template that is nothing else becomes null. Within a longer text it becomes empty. Names of members are not
    /// filled in.
    pub fn fill(&self, values: Placeholders<'_>) -> Value {
        filled(&self.0, values).unwrap_or(Value::Null)
    }

    /// Returns the template as it was given.
    pub(crate) fn as_value(&self) -> &Value {
        &self.0
    }
}

impl<'a> Placeholders<'a> {
    /// Returns the value of the placeholder `name`. Returns `None` for an unknown name, and for `modelId` if no model
    /// was named.
    fn value(&self, name: &str) -> Option<&'a str> {
        match name {
            "prompt" => Some(self.prompt),
            "sessionId" => Some(self.session_id),
            "executionId" => Some(self.execution_id),
            "userId" => Some(self.user_id),
            "agentId" => Some(self.agent_id),
            "modelId" => self.model_id,
            _ => None,
        }
    }
}

/// Splits `text` at its first placeholder: the text before, the placeholder's name, and the text after. A placeholder
/// is a word of ASCII letters, digits and `_` in double braces, with or without blanks around it. The name need not be
/// a known one. Anything else in double braces is passed over. Returns `None` if there is no placeholder.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find("{{")?;
        let inner = &text[at + 2..];
        let name = inner[..inner.find("}}")?].trim();
        // A name is one word. Anything else in braces is the author's own text, such as a template of the agent's.
        if !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
            let end = at + 2 + inner.find("}}")? + 2;
            return Some((&text[..at], name, &text[end..]));
        }
        // The second brace may be the first of a placeholder's.
        from = at + 1;
    }
}

/// Looks for placeholders in the strings of a value that stands at `path`, at any depth. Adds a problem for each
/// unknown one, and sets `has_prompt` if one is `{{prompt}}`. Names of members are not looked at.
fn check(value: &Value, path: &str, has_prompt: &mut bool, problems: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let mut rest = &**text;
            while let Some((_, name, after)) = next_placeholder(rest) {
                if !NAMES.contains(&name) {
                    let known = NAMES.join(", ");
                    push(problems, format!("{path}: holds {{{{{name}}}}}, which is none of {known}"));
                }
                *has_prompt |= name == "prompt";
                rest = after;
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                check(item, &member_at(path, at), has_prompt, problems);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                check(field, &member(path, name), has_prompt, problems);
            }
        }
        _ => {}
    }
}

/// Returns a copy of `value`, a part of the template, with the placeholders in its strings filled in. Returns `None`
/// for a string that is nothing but one placeholder without a value. Elements and members for which this is `None` are
/// left out. Names of members are not filled in.
fn filled(value: &Value, values: Placeholders<'_>) -> Option<Value> {
    Some(match value {
        Value::String(text) => match next_placeholder(text) {
            Some(("", name, "")) => Value::String(values.value(name)?.to_owned()),
            _ => Value::String(filled_text(text, values)),
        },
        Value::Array(items) => items.iter().filter_map(|item| filled(item, values)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(name, field)| Some((name.clone(), filled(field, values)?)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    })
}

/// Returns a text with each placeholder replaced by its value, or by nothing if it has none. What is filled in is not
/// looked at again.
fn filled_text(text: &str, values: Placeholders<'_>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = next_placeholder(rest) {
        result.push_str(before);
        result.push_str(values.value(name).unwrap_or_default());
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VALUES: Placeholders<'_> = Placeholders {
        prompt: "Say \"{{sessionId}}\"",
        session_id: "s",
        execution_id: "e",
        user_id: "u",
        agent_id: "a",
        model_id: None,
    };

    fn read(template: Value) -> Result<Template, Vec<String>> {
        let mut problems = Vec::new();
        let template = Template::read(&template, "$.template", &mut problems);
        if problems.is_empty() { Ok(template) } else { Err(problems) }
    }

    #[test]
    fn placeholders_are_filled_once_at_any_depth() {
        let template = json!({"a": ["{{ prompt }}", {"b": "{{userId}}/{{agentId}}: {{executionId}}{{modelId}}!"}],
            "model": "{{modelId}}", "models": ["{{modelId}}", 1], "{{prompt}}": true, "c": "{{{sessionId}}} {{ }} {{"});
        let expected = json!({"a": ["Say \"{{sessionId}}\"", {"b": "u/a: e!"}], "models": [1], "{{prompt}}": true,
            "c": "{s} {{ }} {{"});
        assert_eq!(read(template).unwrap().fill(VALUES), expected);
        let with_model = Placeholders { model_id: Some("m"), ..VALUES };
        let template = read(json!({"prompt": "{{prompt}}", "model": "{{modelId}}"})).unwrap();
        assert_eq!(template.fill(with_model)["model"], "m");
    }

    #[test]
    fn unknown_names_and_a_missing_prompt_are_problems() {
        for (template, expected) in [
            (json!({"a": ["{{promt}}", "{{prompt}}"]}), vec!["$.template.a[0]: holds {{promt}}, which is none of "]),
            (json!({"a": "{{sessionId}}"}), vec!["$.template: must hold {{prompt}} in one of its strings"]),
            (json!("{{Prompt}}"), vec!["$.template: holds {{Prompt}}", "$.template: must hold {{prompt}}"]),
            (json!({"{{prompt}}": 1}), vec!["$.template: must hold {{prompt}}"]),
        ] {
            let problems = read(template.clone()).unwrap_err();
            assert_eq!(problems.len(), expected.len(), "{template}: {problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.starts_with(expected), "{problem}");
            }
        }
    }
}
