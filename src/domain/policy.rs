//! Policies: what a stored trigger says about when and how long it may run (docs/triggers.md, Policies).

use std::time::Duration;

use crate::json::fields::Fields;

/// Lambda's own limit.
const LONGEST_TIMEOUT_SECONDS: u32 = 900;
/// As many as a DynamoDB number, read as an f64, counts exactly.
const MOST_TOKENS_PER_DAY: u64 = 1 << 53;
const PAUSE_AFTER_FAILURES: u32 = 5;

/// What a trigger's item says beside what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of a fire while another execution of the trigger is alive.
    pub overlap: Overlap,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// How many executions may start on a day, in UTC.
    pub max_runs_per_day: Option<u32>,
    /// How many tokens executions may have used on a day, in UTC, for another one to start.
    pub max_tokens_per_day: Option<u64>,
    /// After how many failures in a row the trigger is paused; 0 is never.
    pub pause_after_failures: u32,
}

/// What becomes of a fire while another execution of its trigger is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Both run.
    Allow,
    /// It is skipped.
    Skip,
    /// The other is cancelled first.
    CancelOther,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            overlap: Overlap::Allow,
            timeout: None,
            max_runs_per_day: None,
            max_tokens_per_day: None,
            pause_after_failures: PAUSE_AFTER_FAILURES,
        }
    }
}

impl Policy {
    /// Reads the policy of a trigger item; a value it does not know is a problem, never a default.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        let overlap = match fields.text("overlap").as_deref() {
            None | Some("allow") => Overlap::Allow,
            Some("skip") => Overlap::Skip,
            Some("cancelOther") => Overlap::CancelOther,
            Some(_) => {
                fields.problem("overlap", "must be \"allow\", \"skip\" or \"cancelOther\"");
                Overlap::Allow
            }
        };
        let mut at_least_1 = |name: &str, most: u64| {
            let number = fields.whole_number(name)?;
            let fits = (1..=most).contains(&number);
            if !fits {
                fields.problem(name, &format!("must be from 1 to {most}"));
            }
            fits.then_some(number)
        };
        let timeout = at_least_1("timeoutSeconds", LONGEST_TIMEOUT_SECONDS.into());
        let max_runs_per_day = at_least_1("maxRunsPerDay", u32::MAX.into());
        let max_tokens_per_day = at_least_1("maxTokensPerDay", MOST_TOKENS_PER_DAY);
        Self {
            overlap,
            timeout: timeout.map(Duration::from_secs),
            max_runs_per_day: max_runs_per_day.and_then(|runs| u32::try_from(runs).ok()),
            max_tokens_per_day,
            pause_after_failures: fields.count("pauseAfterFailures").unwrap_or(PAUSE_AFTER_FAILURES),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(item: &Value) -> (Policy, Vec<String>) {
        let mut fields = Fields::new("$", item.as_object().unwrap());
        let policy = Policy::read(&mut fields);
        (policy, fields.problems)
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!(read(&json!({})), (Policy::default(), Vec::new()));
        let (policy, problems) = read(&json!({"overlap": "cancelOther", "timeoutSeconds": 90, "maxRunsPerDay": 3,
            "maxTokensPerDay": "1000", "pauseAfterFailures": 0}));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            policy,
            Policy {
                overlap: Overlap::CancelOther,
                timeout: Some(Duration::from_secs(90)),
                max_runs_per_day: Some(3),
                max_tokens_per_day: Some(1000),
                pause_after_failures: 0,
            }
        );
    }

    #[test]
    fn whole_numbers_may_be_spelt_in_any_way() {
        let large = json!({"maxTokensPerDay": 5_000_000_000_u64, "timeoutSeconds": 900.0, "maxRunsPerDay": "1E+6"});
        let (policy, problems) = read(&large);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((policy.max_tokens_per_day, policy.max_runs_per_day), (Some(5_000_000_000), Some(1_000_000)));
        assert_eq!(policy.timeout, Some(Duration::from_secs(900)));
    }

    #[test]
    fn unknown_values_are_problems_that_say_what_is_allowed() {
        let (_, problems) = read(&json!({"overlap": "queue", "timeoutSeconds": 901, "maxRunsPerDay": 0,
            "maxTokensPerDay": -1, "pauseAfterFailures": "often"}));
        assert_eq!(
            problems,
            [
                "$.overlap: must be \"allow\", \"skip\" or \"cancelOther\"",
                "$.timeoutSeconds: must be from 1 to 900",
                "$.maxRunsPerDay: must be from 1 to 4294967295",
                "$.maxTokensPerDay: must be a whole number",
                "$.pauseAfterFailures: must be a whole number",
            ]
        );
    }
}
