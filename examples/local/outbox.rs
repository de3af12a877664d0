//! The pipe: it reads the table's stream and sends the executions' changes back to the function as events.

use std::path::Path;
use std::time::Duration;

use agent_trigger::trigger::pattern::Pattern;
use standins::{Invocation, Pipe, Stack, Template};

/// Starts the pipe of template.yaml, with the function as the only target of its event bus.
pub(crate) fn pipe(stack: &Stack, root: &Path, timeout: Duration) -> Result<Pipe, String> {
    let definition = Template::read(&root.join("template.yaml"))?.pipe()?;
    let patterns = definition.filters.iter().map(Pattern::parse).collect::<Result<Vec<_>, _>>();
    let patterns =
        patterns.map_err(|problems| format!("template.yaml: a filter of the pipe: {}", problems.join("; ")))?;
    let matches = move |record: &serde_json::Value| patterns.iter().any(|pattern| pattern.matches(record));
    let lambda = stack.lambda.clone();
    let sink = move |event| {
        lambda.submit(Invocation::event(&event).timeout(timeout));
    };
    Ok(Pipe::start(&stack.dynamodb, definition, matches, sink))
}
