//! Ten thousand expressions of the grammar that croner and Scheduler share, every result equal.
//!
//! Left out is what the two do not share: wildcards that croner does not know (a bare `L` for a day of the week), ranges
//! that pass the end of a field, and the `?` that Scheduler demands.

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;

use crate::{at, schedule};

/// A small generator of numbers, so that each run checks the same expressions.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        // The constants are Knuth's (MMIX).
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }
}

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Returns a part of a field: one value, a range, or a step.
fn part(numbers: &mut Numbers, (first, last): (u64, u64), has_steps: bool, name: &dyn Fn(u64) -> String) -> String {
    let from = numbers.between(first, last);
    let to = numbers.between(from, last);
    let step = numbers.between(1, (last - first).max(1));
    match numbers.below(if has_steps { 5 } else { 2 }) {
        0 => name(from),
        1 if from < to => format!("{}-{}", name(from), name(to)),
        2 => format!("*/{step}"),
        3 if from < to => format!("{from}-{to}/{}", numbers.between(1, to - from)),
        4 => format!("{from}/{step}"),
        _ => name(from),
    }
}

fn field(numbers: &mut Numbers, bounds: (u64, u64), has_steps: bool, name: &dyn Fn(u64) -> String) -> String {
    if numbers.below(4) == 0 {
        return "*".to_owned();
    }
    let parts = numbers.between(1, 3);
    (0..parts).map(|_| part(numbers, bounds, has_steps, name)).collect::<Vec<_>>().join(",")
}

/// Returns an expression in Scheduler's dialect and the same in croner's, with seconds and with Quartz's weekdays.
fn expressions(numbers: &mut Numbers) -> (String, String) {
    let number = |value: u64| value.to_string();
    let minute = field(numbers, (0, 59), true, &number);
    let hour = field(numbers, (0, 23), true, &number);
    let month_name =
        |value: u64| if value.is_multiple_of(2) { value.to_string() } else { MONTHS[value as usize - 1].to_owned() };
    let month = field(numbers, (1, 12), true, &month_name).replace("JAN/", "1/");
    let month = if month.contains('/') { field(numbers, (1, 12), true, &number) } else { month };
    let year = match numbers.below(4) {
        0 => format!("{}-{}", 2026, numbers.between(2027, 2040)),
        1 => numbers.between(2026, 2036).to_string(),
        _ => "*".to_owned(),
    };
    let (day, weekday) = if numbers.below(2) == 0 {
        let day = match numbers.below(6) {
            0 => "L".to_owned(),
            1 => format!("{}W", numbers.between(1, 31)),
            _ => field(numbers, (1, 31), true, &number),
        };
        (day, "?".to_owned())
    } else {
        let day_name = |value: u64| {
            if value.is_multiple_of(2) { value.to_string() } else { WEEKDAYS[value as usize - 1].to_owned() }
        };
        let weekday = match numbers.below(5) {
            0 => format!("{}#{}", numbers.between(1, 7), numbers.between(1, 5)),
            1 => format!("{}L", numbers.between(1, 7)),
            _ => field(numbers, (1, 7), false, &day_name),
        };
        ("?".to_owned(), weekday)
    };
    let croners = |text: &str| if text == "?" { "*".to_owned() } else { text.to_owned() };
    let scheduler = format!("{minute} {hour} {day} {month} {weekday} {year}");
    let croner = format!("0 {minute} {hour} {} {month} {} {year}", croners(&day), croners(&weekday));
    (scheduler, croner)
}

#[test]
fn ten_thousand_expressions_fire_alike() {
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build();
    let mut numbers = Numbers(42);
    let start = at("2026-11-27T00:00:00Z");
    let civil: DateTime = jiff::tz::TimeZone::UTC.to_datetime(start);
    let mut fired = 0;
    for _ in 0..10_000 {
        let (ours, theirs) = expressions(&mut numbers);
        let oracle = parser.parse(&theirs).unwrap_or_else(|error| panic!("{theirs}: {error}"));
        let schedule = schedule(&ours, "UTC");
        let found: Vec<_> =
            schedule.runs_after(start, start).take(4).map(|run| jiff::tz::TimeZone::UTC.to_datetime(run)).collect();
        // croner looks further ahead than any expression needs, and gives up in its own way.
        let expected: Vec<_> = oracle.iter_after(civil).take(found.len()).collect();
        assert_eq!(found, expected, "{ours}");
        if found.len() < 4 {
            let next = found.last().copied().unwrap_or(civil);
            let further = oracle.find_next_occurrence(&next, false);
            assert!(further.is_err(), "{ours} fires no more after {next}, croner says {further:?}");
        }
        fired += found.len();
    }
    assert!(fired > 30_000, "only {fired} runs were compared");
}
