//! The tokens that an agent's model calls used, as the agent reports them.

/// Tokens, summed over the model calls of a run. Sums stop at `u64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens sent to the model.
    pub input_tokens: u64,
    /// Tokens the model wrote.
    pub output_tokens: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read_input_tokens: u64,
    /// Input tokens written to the prompt cache.
    pub cache_write_input_tokens: u64,
}

impl Usage {
    /// Returns the input tokens plus the output tokens, which a trigger's limit of tokens counts.
    pub fn tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Returns the sum of both, for each of the four counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_input_tokens: self.cache_read_input_tokens.saturating_add(other.cache_read_input_tokens),
            cache_write_input_tokens: self.cache_write_input_tokens.saturating_add(other.cache_write_input_tokens),
        }
    }

    /// Returns this without the other, for each of the four counts. None goes below 0.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(other.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
            cache_read_input_tokens: self.cache_read_input_tokens.saturating_sub(other.cache_read_input_tokens),
            cache_write_input_tokens: self.cache_write_input_tokens.saturating_sub(other.cache_write_input_tokens),
        }
    }
}

/// Returns the usage so far of an agent that said `before` and then `now`: the larger of each count. Reports may
/// overtake one another, and a count that a report leaves out is none that went down. It is unknown only if both are.
pub fn so_far(before: Option<Usage>, now: Option<Usage>) -> Option<Usage> {
    let (Some(before), Some(now)) = (before, now) else { return before.or(now) };
    Some(Usage {
        input_tokens: before.input_tokens.max(now.input_tokens),
        output_tokens: before.output_tokens.max(now.output_tokens),
        cache_read_input_tokens: before.cache_read_input_tokens.max(now.cache_read_input_tokens),
        cache_write_input_tokens: before.cache_write_input_tokens.max(now.cache_write_input_tokens),
    })
}

/// Returns the sum of two usages. An unknown one counts as nothing. Returns `None` only if both are unknown.
pub fn sum(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.plus(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_so_far_never_goes_down() {
        let usage = |counts: [u64; 4]| {
            let [input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens] = counts;
            Some(Usage { input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens })
        };
        for (before, now, expected) in [
            (None, None, None),
            (usage([1, 2, 3, 4]), None, usage([1, 2, 3, 4])),
            (None, usage([1, 2, 3, 4]), usage([1, 2, 3, 4])),
            (usage([9, 1, 9, 1]), usage([1, 9, 1, 9]), usage([9; 4])),
            (usage([1, 9, 1, 9]), usage([9, 1, 9, 1]), usage([9; 4])),
        ] {
            assert_eq!(so_far(before, now), expected, "{before:?} {now:?}");
        }
    }
}
