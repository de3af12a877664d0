//! The policy of a stored trigger: when and for how long it may run (docs/triggers.md, Policies).

use std::time::Duration;

use serde_json::Value;

use crate::json::{
    fields::{Fields, member},
    near_miss::near_misses,
};

/// The longest timeout: a day. Lambda's own limit ends a run earlier. It is not repeated here, because AWS may raise
/// it.
const LONGEST_TIMEOUT_SECONDS: u32 = 86_400;
/// The largest limit of tokens. DynamoDB's numbers, read as an f64, are exact up to it.
const MOST_TOKENS_PER_DAY: u64 = 1 << 53;
/// The number of failures in a row after which a trigger is paused, unless its item says otherwise.
const PAUSE_AFTER_FAILURES: u32 = 5;

/// The most executions that `overlap` may let run at once. A fire that finds no free slot has read an item for each,
/// and each is held by heartbeats of its own.
pub const MOST_AT_ONCE: u32 = 100;

/// The limits that a trigger item sets for its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The treatment of a fire while another execution of the trigger is alive.
    pub overlap: Overlap,
    /// The longest time that an attempt may take.
    pub timeout: Option<Duration>,
    /// The number of executions that may start on one day in UTC.
    pub max_runs_per_day: Option<u32>,
    /// The number of tokens per day in UTC. Once it is reached, no further execution starts.
    pub max_tokens_per_day: Option<u64>,
    /// The number of failures in a row after which the trigger is paused. It is never paused if this is 0.
    pub pause_after_failures: u32,
}

/// The treatment of a fire while another execution of its trigger is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "camelCase")]
pub enum Overlap {
    /// Both run.
    Allow,
    /// The new one is skipped.
    Skip,
    /// The other one is cancelled before the new one runs.
    CancelOther,
    /// So many run at once, and one more is skipped. The number is from 1 to [`MOST_AT_ONCE`].
    #[strum(disabled)]
    AtMost(u32),
}

impl Overlap {
    /// Returns the number of executions that may run at once, or `None` if there is no limit.
    pub fn slots(self) -> Option<u32> {
        match self {
            Self::Allow => None,
            Self::Skip | Self::CancelOther => Some(1),
            Self::AtMost(most) => Some(most),
        }
    }

    /// Returns the number that the item names as `max`, or `None` for the other policies.
    pub fn named_limit(self) -> Option<u32> {
        if let Self::AtMost(most) = self { Some(most) } else { None }
    }

    /// Reads `overlap`: `allow`, `skip`, `cancelOther`, or an object whose `max` is a number. It is `Allow` if it is
    /// absent. Anything else is a problem, and `Allow`.
    fn read(fields: &mut Fields<'_>) -> Self {
        let Some(value) = fields.value("overlap").cloned() else { return Self::Allow };
        let overlap = match &value {
            Value::String(name) => name.parse().ok(),
            Value::Object(object) => {
                let mut inner = Fields::new(&member(&fields.path, "overlap"), object);
                let most = Self::read_max(&mut inner);
                fields.problems.extend(inner.problems);
                return most.map_or(Self::Allow, Self::AtMost);
            }
            _ => None,
        };
        overlap.unwrap_or_else(|| {
            fields.problem("overlap", "must be \"allow\", \"skip\", \"cancelOther\" or {\"max\": n}");
            Self::Allow
        })
    }

    /// Reads `max`, a whole number from 1 to [`MOST_AT_ONCE`], which must be there. Anything else is a problem, and
    /// `None`.
    fn read_max(fields: &mut Fields<'_>) -> Option<u32> {
        near_misses(fields, &[&["max"]]);
        if fields.value("max").is_none() {
            if fields.problems.is_empty() {
                fields.problem("max", "is missing");
            }
            return None;
        }
        let most = fields.whole_number("max")?;
        let most = u32::try_from(most).ok().filter(|most| (1..=MOST_AT_ONCE).contains(most));
        if most.is_none() {
            fields.problem("max", &format!("must be from 1 to {MOST_AT_ONCE}"));
        }
        most
    }
}

impl Default for Policy {
    /// Returns the policy of an item that sets none: executions may overlap, nothing is limited, and the trigger is
    /// paused after five failures in a row.
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
    /// Reads the policy of a trigger item: `overlap`, `timeoutSeconds` (1 to 86,400), `maxRunsPerDay` (from 1),
    /// `maxTokensPerDay` (1 to 2⁵³) and `pauseAfterFailures` (from 0). A member that is absent has the default. One
    /// that is not understood or out of its range is a problem in `fields` and has the default, too. A caller that
    /// starts runs must refuse an item with problems.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        let overlap = Overlap::read(fields);
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
        let (_, problems) = read(&json!({"overlap": "queue", "timeoutSeconds": 86_401, "maxRunsPerDay": 0,
            "maxTokensPerDay": -1, "pauseAfterFailures": "often"}));
        assert_eq!(
            problems,
            [
                "$.overlap: must be \"allow\", \"skip\", \"cancelOther\" or {\"max\": n}",
                "$.timeoutSeconds: must be from 1 to 86400",
                "$.maxRunsPerDay: must be from 1 to 4294967295",
                "$.maxTokensPerDay: must be a whole number",
                "$.pauseAfterFailures: must be a whole number",
            ]
        );
    }

    #[test]
    fn overlap_is_a_word_or_a_number_that_may_run_at_once() {
        for (overlap, expected) in [
            (json!(null), Overlap::Allow),
            (json!("allow"), Overlap::Allow),
            (json!("skip"), Overlap::Skip),
            (json!("cancelOther"), Overlap::CancelOther),
            (json!({"max": 1}), Overlap::AtMost(1)),
            (json!({"max": "2"}), Overlap::AtMost(2)),
            (json!({"max": 3.0, "note": "what is not known is left out"}), Overlap::AtMost(3)),
            (json!({"max": 100}), Overlap::AtMost(100)),
        ] {
            let (policy, problems) = read(&json!({ "overlap": overlap }));
            assert_eq!((policy.overlap, problems), (expected, Vec::new()), "{overlap}");
        }
        let words = "$.overlap: must be \"allow\", \"skip\", \"cancelOther\" or {\"max\": n}";
        for (overlap, problem) in [
            (json!("max"), words),
            (json!("atMost"), words),
            (json!("AtMost"), words),
            (json!(2), words),
            (json!([2]), words),
            (json!(true), words),
            (json!({}), "$.overlap.max: is missing"),
            (json!({"max": null}), "$.overlap.max: is missing"),
            (json!({"limit": 2}), "$.overlap.max: is missing"),
            (json!({"Max": 2}), "$.overlap.Max: is not known; max is, and nearly the same"),
            (json!({"max": 0}), "$.overlap.max: must be from 1 to 100"),
            (json!({"max": 101}), "$.overlap.max: must be from 1 to 100"),
            (json!({"max": 5_000_000_000_u64}), "$.overlap.max: must be from 1 to 100"),
            (json!({"max": -1}), "$.overlap.max: must be a whole number"),
            (json!({"max": 1.5}), "$.overlap.max: must be a whole number"),
            (json!({"max": ""}), "$.overlap.max: must be a whole number"),
            (json!({"max": [1]}), "$.overlap.max: must be a whole number"),
        ] {
            let (policy, problems) = read(&json!({ "overlap": overlap }));
            assert_eq!((policy.overlap, problems), (Overlap::Allow, vec![problem.to_owned()]), "{overlap}");
        }
    }

    #[test]
    fn only_a_trigger_that_allows_overlap_has_no_limit() {
        for (overlap, slots, named) in [
            (Overlap::Allow, None, None),
            (Overlap::Skip, Some(1), None),
            (Overlap::CancelOther, Some(1), None),
            (Overlap::AtMost(1), Some(1), Some(1)),
            (Overlap::AtMost(7), Some(7), Some(7)),
        ] {
            assert_eq!((overlap.slots(), overlap.named_limit()), (slots, named), "{overlap:?}");
        }
    }

    #[test]
    fn an_empty_limit_is_no_absent_one() {
        for name in ["timeoutSeconds", "maxRunsPerDay", "maxTokensPerDay", "pauseAfterFailures"] {
            assert_eq!(read(&json!({name: ""})).1, [format!("$.{name}: must be a whole number")]);
        }
    }
}
