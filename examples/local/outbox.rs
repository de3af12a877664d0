//! The pipe: it reads the table's stream and puts the executions' changes on the stack's bus, whose rules bring them to
//! the function.

use std::path::Path;
use std::time::Duration;

use agent_trigger::trigger::pattern::Pattern;
use standins::{Invocation, Pipe, Stack, Template};

/// Starts the pipe of template.yaml, with the rule that brings executions that ended to the function.
pub(crate) fn pipe(stack: &Stack, root: &Path, timeout: Duration) -> Result<Pipe, String> {
    let template = Template::read(&root.join("template.yaml"))?;
    let definition = template.pipe()?;
    let rule = template.rules("AgentTriggerFunction").into_iter().find(|rule| rule.id == "ChainRule");
    let rule = rule.ok_or("template.yaml: no ChainRule")?;
    // Said once, here: what the rule makes of one event it makes of all.
    rule.payload(&serde_json::json!({}))?;
    let patterns = definition.filters.iter().map(Pattern::parse).collect::<Result<Vec<_>, _>>();
    let patterns =
        patterns.map_err(|problems| format!("template.yaml: a filter of the pipe: {}", problems.join("; ")))?;
    let matches = move |record: &serde_json::Value| patterns.iter().any(|pattern| pattern.matches(record));
    let lambda = stack.lambda.clone();
    let sink = move |event| {
        let payload = rule.payload(&event).unwrap_or_default();
        lambda.submit(Invocation::new(payload).timeout(timeout));
    };
    Ok(Pipe::start(&stack.dynamodb, definition, matches, sink))
}
