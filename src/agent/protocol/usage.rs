//! Token counts, in the spellings of the providers.

use crate::agent::protocol::names::name_of;
use crate::json::scan::{Members, RawJson};

/// The counts that a usage object names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write: Option<u64>,
}

impl Counts {
    /// Reads a usage object, or returns `None` if it counts nothing. If a count has several spellings, the first that
    /// is a number counts. Those in the details of the input are among them. Gemini counts the tokens of thoughts, and
    /// of what its tools put into the prompt, beside the others: they are added, unless the total is that of the
    /// others. <https://ai.google.dev/api/generate-content#UsageMetadata>
    pub(crate) fn of(usage: RawJson<'_>) -> Option<Counts> {
        // Cohere counts within its usage.
        let within = || Counts::in_object(usage.get("tokens").or_else(|| usage.get("billed_units"))?);
        Counts::in_object(usage).or_else(within)
    }

    /// Reads the counts that stand in an object itself.
    fn in_object(usage: RawJson<'_>) -> Option<Counts> {
        let mut counts = Counts::default();
        let (mut thoughts, mut tools, mut total) = (None, None, None);
        for (name, value) in Members::of(usage.raw()) {
            let slot = match &*name_of(name) {
                b"inputTokens"
                | b"input_tokens"
                | b"prompt_tokens"
                | b"promptTokens"
                | b"promptTokenCount"
                | b"prompt_token_count"
                | b"inputTokenCount"
                | b"input" => &mut counts.input,
                b"outputTokens"
                | b"output_tokens"
                | b"completion_tokens"
                | b"completionTokens"
                | b"candidatesTokenCount"
                | b"candidates_token_count"
                | b"outputTokenCount"
                | b"output" => &mut counts.output,
                b"cacheReadInputTokens"
                | b"cache_read_input_tokens"
                | b"cachedInputTokens"
                | b"cachedContentTokenCount"
                | b"cached_content_token_count" => &mut counts.cache_read,
                b"thoughtsTokenCount" | b"thoughts_token_count" => &mut thoughts,
                b"toolUsePromptTokenCount" | b"tool_use_prompt_token_count" => &mut tools,
                b"totalTokenCount" | b"total_token_count" => &mut total,
                b"cacheWriteInputTokens" | b"cache_write_input_tokens" | b"cache_creation_input_tokens" => {
                    &mut counts.cache_write
                }
                b"input_tokens_details" | b"prompt_tokens_details" | b"input_token_details" | b"inputTokenDetails" => {
                    let count = |names: &[&str]| names.iter().find_map(|name| value.get(name)?.as_count());
                    let read = count(&["cached_tokens", "cache_read", "cacheReadTokens"]);
                    counts.cache_read = counts.cache_read.or(read);
                    counts.cache_write = counts.cache_write.or(count(&["cache_creation", "cacheWriteTokens"]));
                    continue;
                }
                _ => continue,
            };
            *slot = slot.or(value.as_count());
        }
        let sum = |one: Option<u64>, more: Option<u64>| match (one, more) {
            (Some(one), Some(more)) => Some(one.saturating_add(more)),
            (one, more) => one.or(more),
        };
        // ADK's adapters for other models count the thoughts within the output.
        if total.is_none() || total != sum(counts.input, counts.output) {
            counts.output = sum(counts.output, thoughts);
            counts.input = sum(counts.input, tools);
        }
        counts.is_some().then_some(counts)
    }

    /// Returns true if something is counted.
    pub(crate) fn is_some(self) -> bool {
        let Counts { input, output, cache_read, cache_write } = self;
        input.or(output).or(cache_read).or(cache_write).is_some()
    }

    /// Returns these counts, replaced by those that `newer` names.
    pub(crate) fn updated(self, newer: Counts) -> Counts {
        Counts {
            input: newer.input.or(self.input),
            output: newer.output.or(self.output),
            cache_read: newer.cache_read.or(self.cache_read),
            cache_write: newer.cache_write.or(self.cache_write),
        }
    }
}
