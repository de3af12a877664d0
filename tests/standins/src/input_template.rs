//! The InputTemplate of an EventBridge Pipe
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html>).
//!
//! The page says: a variable outside quotes becomes JSON, so a string gets quotes around it. Inside quotes a value is
//! not escaped, and an object or array loses its quotes. So a text that is not known beforehand must stand outside
//! quotes, and a template that has it inside fails here as it does there. About a path that is not in the event the
//! page says only that it "won't appear in the output". Here it becomes an empty string, which keeps the output JSON.

use serde_json::Value;

/// The variables that a template may use besides paths.
#[derive(Clone, Debug, Default)]
pub struct PipeVariables {
    /// `aws.pipes.pipe-arn`.
    pub pipe_arn: String,
    /// `aws.pipes.pipe-name`.
    pub pipe_name: String,
    /// `aws.pipes.source-arn`.
    pub source_arn: String,
    /// `aws.pipes.target-arn`.
    pub target_arn: String,
    /// `aws.pipes.event.ingestion-time`.
    pub ingestion_time: String,
}

/// Returns the template filled in from an event.
///
/// # Errors
/// Names the variable that a pipe does not know.
pub fn render(template: &str, event: &Value, variables: &PipeVariables) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        if let Some((variable, after)) = variable_at(rest) {
            let value = value_of(variable, event, variables)?;
            out.push_str(&if quoted { inside_quotes(value.as_ref()) } else { as_json(value.as_ref()) });
            (rest, escaped) = (after, false);
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Ok(out)
}

/// Returns the variable with which `text` begins, and the text after it.
fn variable_at(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<').filter(|inner| inner.starts_with('$') || inner.starts_with("aws.pipes."))?;
    inner.split_once('>')
}

fn value_of(variable: &str, event: &Value, variables: &PipeVariables) -> Result<Option<Value>, String> {
    let text = match variable {
        "aws.pipes.event" | "aws.pipes.event.json" => return Ok(Some(event.clone())),
        "aws.pipes.pipe-arn" => &variables.pipe_arn,
        "aws.pipes.pipe-name" => &variables.pipe_name,
        "aws.pipes.source-arn" => &variables.source_arn,
        "aws.pipes.target-arn" => &variables.target_arn,
        "aws.pipes.event.ingestion-time" => &variables.ingestion_time,
        path => return lookup(path, event).map(|found| found.cloned()),
    };
    Ok(Some(text.as_str().into()))
}

/// Returns the value at a path such as `$.dynamodb.NewImage.tags.L[0].S`.
pub(crate) fn lookup<'a>(path: &str, event: &'a Value) -> Result<Option<&'a Value>, String> {
    let unknown = || format!("<{path}> is not a variable that this pipe knows");
    let steps = path.strip_prefix('$').ok_or_else(unknown)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.' | '[' | ']');
    if !steps.chars().all(allowed) || !(steps.is_empty() || steps.starts_with(['.', '['])) {
        return Err(unknown());
    }
    let mut found = Some(event);
    for step in steps.split(['.', '[']).filter(|step| !step.is_empty()) {
        found = match step.strip_suffix(']') {
            Some(index) => {
                let index: usize = index.parse().map_err(|_| unknown())?;
                found.and_then(|value| value.get(index))
            }
            None => found.and_then(|value| value.get(step)),
        };
    }
    Ok(found)
}

fn as_json(value: Option<&Value>) -> String {
    value.map_or_else(|| "\"\"".to_owned(), Value::to_string)
}

fn inside_quotes(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string().replace('"', ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(template: &str) -> String {
        let event = json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"name": {"S": "say \"hi\"\n"},
            "count": {"N": "3"}, "on": {"BOOL": true}, "tags": {"L": [{"S": "a"}, {"S": "b"}]}}}});
        let variables = PipeVariables { pipe_name: "the-pipe".to_owned(), ..PipeVariables::default() };
        render(template, &event, &variables).unwrap()
    }

    #[test]
    fn outside_quotes_a_value_is_json() {
        for (template, expected) in [
            ("{\"a\": <$.dynamodb.NewImage.name.S>}", r#"{"a": "say \"hi\"\n"}"#),
            ("{\"a\": <$.dynamodb.NewImage.count.N>}", r#"{"a": "3"}"#),
            ("{\"a\": <$.dynamodb.NewImage.on.BOOL>}", r#"{"a": true}"#),
            ("{\"a\": <$.dynamodb.NewImage.tags.L[1]>}", r#"{"a": {"S":"b"}}"#),
            ("{\"a\": <$.dynamodb.NewImage.tags.L[1].S>}", r#"{"a": "b"}"#),
            ("{\"a\": <aws.pipes.pipe-name>}", r#"{"a": "the-pipe"}"#),
            ("{\"a\": <$.dynamodb.NewImage.none.S>, \"b\": 1}", r#"{"a": "", "b": 1}"#),
            ("<$.eventName>", "\"INSERT\""),
        ] {
            assert_eq!(rendered(template), expected);
        }
    }

    #[test]
    fn inside_quotes_a_value_is_text_as_it_is() {
        for (template, expected) in [
            (r#"{"a": "it is <$.eventName>, \"<$.eventName>\""}"#, r#"{"a": "it is INSERT, \"INSERT\""}"#),
            ("{\"a\": \"<$.dynamodb.NewImage.name.S>\"}", "{\"a\": \"say \"hi\"\n\"}"),
            ("{\"a\": \"<$.dynamodb.NewImage.tags.L[0]>\"}", r#"{"a": "{S:a}"}"#),
            ("{\"a\": \"<$.dynamodb.NewImage.none.S>\"}", r#"{"a": ""}"#),
            ("{\"a\": \"1 < 2 > 0\"}", r#"{"a": "1 < 2 > 0"}"#),
        ] {
            assert_eq!(rendered(template), expected);
        }
    }

    #[test]
    fn an_unknown_variable_is_named() {
        for template in ["<aws.pipes.nonsense>", "<$.a[*].b>", "<$.a[x]>", "<$a>", "<$.a b>"] {
            let refused = render(template, &json!({}), &PipeVariables::default());
            assert!(refused.is_err_and(|message| message.contains(template)), "{template}");
        }
    }
}
