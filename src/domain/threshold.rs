//! The threshold of a trigger that runs on every nth event of a window.
//!
//! The window is a tumbling one. It begins with the first event that is counted, by the event's own time. It ends when
//! `windowSeconds` have passed, or with the nth event, which makes the trigger fire. An event that was published before
//! the window began and is delivered late counts in it.
//!
//! The event's publisher chooses the event's time. A time in the future counts as the present. Otherwise it would hold
//! its window open until then.

use serde_json::Value;

use crate::json::fields::{Fields, kind};

/// The longest window. A longer one could outlive the counter, which is kept for `EXECUTION_TTL_DAYS`.
const LONGEST_WINDOW_SECONDS: u32 = 24 * 60 * 60;
/// The most by which the clocks of two machines may differ, in milliseconds.
const CLOCK_SKEW_MILLIS: i64 = 60_000;
/// The largest `count`.
const LARGEST_COUNT: u32 = 100_000;

/// The threshold of a trigger, `{count, windowSeconds}` in its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// The number of the event that makes the trigger fire, from 1.
    pub count: u32,
    /// The length of the window, in seconds.
    pub window_seconds: u32,
}

/// The state of a trigger's counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The begin of the window, in milliseconds since 1970.
    pub(crate) window_start: i64,
    /// The number of events in the window so far.
    pub(crate) count: u32,
}

impl Threshold {
    /// Reads a threshold. Both members are required: `count` from 1 to 100,000, and `windowSeconds` from 1 to 86,400.
    /// Unknown members are ignored, and `documented` reports misspelt ones.
    ///
    /// # Errors
    /// The error names every problem at once, each by its path from `$`, which is the threshold itself.
    pub(crate) fn parse(value: &Value) -> Result<Self, Vec<String>> {
        let Value::Object(object) = value else {
            return Err(vec![format!("$: must be an object, not {}", kind(value))]);
        };
        let mut fields = Fields::new("$", object);
        let mut number = |name: &str, most: u32| {
            if fields.value(name).is_none() {
                fields.problem(name, "is missing");
            }
            let number = fields.count(name)?;
            if !(1..=most).contains(&number) {
                fields.problem(name, &format!("must be from 1 to {most}"));
            }
            Some(number)
        };
        let count = number("count", LARGEST_COUNT);
        let window_seconds = number("windowSeconds", LONGEST_WINDOW_SECONDS);
        match (count, window_seconds) {
            (Some(count), Some(window_seconds)) if fields.problems.is_empty() => Ok(Self { count, window_seconds }),
            _ => Err(fields.problems),
        }
    }

    /// Returns the counter after one more event, which says that it happened at `time` and is counted `now`, both in
    /// milliseconds since 1970. A `time` after `now` counts as `now`. The event begins a new window if there is none.
    /// It does so, too, if the window that was `seen` was completed by its nth event, is over at `time`, or begins more
    /// than a minute after `now`: the clock of this machine may be a minute behind. An event from before the window's
    /// begin counts in it.
    pub(crate) fn counted(self, seen: Option<Counter>, time: i64, now: i64) -> Counter {
        let time = time.min(now);
        let window = i64::from(self.window_seconds) * 1000;
        let is_open =
            |start: i64| time < start.saturating_add(window) && start <= now.saturating_add(CLOCK_SKEW_MILLIS);
        let open = seen.filter(|seen| seen.count < self.count && is_open(seen.window_start));
        match open {
            Some(Counter { window_start, count }) => Counter { window_start, count: count + 1 },
            None => Counter { window_start: time, count: 1 },
        }
    }

    /// Returns true if the event with this number in its window makes the trigger fire: only the one whose number is
    /// `count`.
    pub(crate) fn is_reached(self, ordinal: u32) -> bool {
        ordinal == self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FIVE_IN_TEN_SECONDS: Threshold = Threshold { count: 5, window_seconds: 10 };

    #[test]
    fn counting_goes_on_in_an_open_window_and_begins_anew_after_it() {
        let at = |window_start, count| Some(Counter { window_start, count });
        for (seen, time, expected) in [
            (None, 1_000, at(1_000, 1)),
            (at(1_000, 1), 1_000, at(1_000, 2)),
            (at(1_000, 1), 10_999, at(1_000, 2)),
            (at(1_000, 1), 11_000, at(11_000, 1)),
            (at(1_000, 4), 2_000, at(1_000, 5)),
            (at(1_000, 5), 2_000, at(2_000, 1)),
            (at(1_000, 6), 2_000, at(2_000, 1)),
            (at(5_000, 2), 1_000, at(5_000, 3)),
        ] {
            assert_eq!(Some(FIVE_IN_TEN_SECONDS.counted(seen, time, 1_000_000)), expected, "{seen:?} at {time}");
        }
    }

    #[test]
    fn a_time_far_off_holds_no_window_open() {
        let far = i64::MAX;
        let now = 1_000_000;
        let first = FIVE_IN_TEN_SECONDS.counted(None, far, now);
        assert_eq!(first, Counter { window_start: now, count: 1 });
        let later = now + 10_000;
        assert_eq!(FIVE_IN_TEN_SECONDS.counted(Some(first), later, later), Counter { window_start: later, count: 1 });
        let stored = Counter { window_start: far, count: 3 };
        assert_eq!(FIVE_IN_TEN_SECONDS.counted(Some(stored), now, now), Counter { window_start: now, count: 1 });
        // A time long past ends no window that others count in.
        let open = Counter { window_start: now, count: 3 };
        assert_eq!(FIVE_IN_TEN_SECONDS.counted(Some(open), 0, now), Counter { window_start: now, count: 4 });
        // The machine that began the window has a clock that is ahead.
        let ahead = Counter { window_start: now + 5_000, count: 3 };
        assert_eq!(FIVE_IN_TEN_SECONDS.counted(Some(ahead), now, now), Counter { window_start: now + 5_000, count: 4 });
    }

    #[test]
    fn every_fifth_event_fires() {
        let mut counter = None;
        let fired: Vec<i64> = (1..=20)
            .filter(|time| {
                let next = FIVE_IN_TEN_SECONDS.counted(counter, *time, 1_000_000);
                counter = Some(next);
                FIVE_IN_TEN_SECONDS.is_reached(next.count)
            })
            .collect();
        assert_eq!(fired, [5, 10, 15, 20]);
    }

    #[test]
    fn every_problem_is_named() {
        for (value, problems) in [
            (json!(5), vec!["$: must be an object, not a number"]),
            (json!({}), vec!["$.count: is missing", "$.windowSeconds: is missing"]),
            (
                json!({"count": 0, "windowSeconds": 86_401}),
                vec!["$.count: must be from 1 to 100000", "$.windowSeconds: must be from 1 to 86400"],
            ),
            (
                json!({"count": "x", "windowSeconds": 1.5}),
                vec!["$.count: must be a whole number", "$.windowSeconds: must be a whole number"],
            ),
            (json!({"count": "", "windowSeconds": 10}), vec!["$.count: must be a whole number"]),
            (json!({"count": null, "windowSeconds": 10}), vec!["$.count: is missing"]),
        ] {
            assert_eq!(Threshold::parse(&value).unwrap_err(), problems);
        }
        assert_eq!(Threshold::parse(&json!({"count": 5, "windowSeconds": 10})).unwrap(), FIVE_IN_TEN_SECONDS);
    }
}
