//! A schedule in words.

use crate::schedules::{
    cron::{Cron, Days},
    expression::Expression,
    field::{DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE, MONTH, Values, YEAR},
    schedule::Schedule,
};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];
/// The most times of a day that are listed one by one.
const MOST_TIMES: usize = 6;

impl Schedule {
    /// Returns the schedule in words, such as `At 09:00, on Monday to Friday (Europe/Berlin)`. A rate has no zone. The
    /// start, the end and the window are not mentioned.
    pub fn describe(&self) -> String {
        let when = match &self.expression {
            Expression::Cron(cron) => describe_cron(cron),
            Expression::Rate { text, .. } => match text.split_once(' ') {
                Some(("1", unit)) => format!("Every {}", unit.trim_end_matches('s')),
                Some((count, unit)) => format!("Every {count} {}s", unit.trim_end_matches('s')),
                None => format!("Every {text}"),
            },
            Expression::At(at) => format!("Once, on {}", at.strftime("%-d %B %Y at %H:%M:%S")),
        };
        let zone = match &self.expression {
            Expression::Rate { .. } => String::new(),
            _ => format!(" ({})", self.zone_name),
        };
        format!("{when}{zone}")
    }
}

/// Returns a cron expression in words: the time, the days, and the months and years unless they are all allowed. After
/// an interval `every day` is left out.
fn describe_cron(cron: &Cron) -> String {
    let days = days(&cron.days);
    // "Every 5 minutes, every day" says nothing more than "Every 5 minutes".
    let time = time(cron);
    let is_interval = time.starts_with("Every") && days == "every day";
    let mut words = if is_interval { time } else { format!("{time}, {days}") };
    if !cron.months.is_all(MONTH) {
        words.push_str(&format!(", in {}", listed(&cron.months, |month| name(&MONTHS, month))));
    }
    if !cron.years.is_all(YEAR) {
        words.push_str(&format!(", in {}", listed(&cron.years, |year| year.to_string())));
    }
    words
}

/// Returns the minutes and hours of a cron expression in words: an interval if they are even, up to six single times,
/// or otherwise the minutes within the hours.
fn time(cron: &Cron) -> String {
    let (minutes, hours) = (&cron.minutes, &cron.hours);
    let (all_minutes, all_hours) = (minutes.is_all(MINUTE), hours.is_all(HOUR));
    let clock = |hour: u16, minute: u16| format!("{hour:02}:{minute:02}");
    match (minutes.as_slice(), hours.as_slice()) {
        _ if all_minutes && all_hours => "Every minute".to_owned(),
        ([0], _) if all_hours => "Every hour".to_owned(),
        ([minute], _) if all_hours => format!("Every hour at minute {minute}"),
        ([minute], [_, _, ..]) if let Some(step) = step(hours, 0, 24) => {
            let at = if *minute == 0 { String::new() } else { format!(" at minute {minute}") };
            format!("Every {step} hours{at}")
        }
        (some, of) if some.len() * of.len() <= MOST_TIMES => {
            let times = of.iter().flat_map(|hour| some.iter().map(move |minute| clock(*hour, *minute)));
            format!("At {}", joined(&times.collect::<Vec<_>>()))
        }
        (_, of) => {
            let every = match step(minutes, 0, 60) {
                _ if all_minutes => "Every minute".to_owned(),
                Some(step) => format!("Every {step} minutes"),
                None => format!("At minute {}", listed(minutes, |minute| minute.to_string())),
            };
            match (all_hours, of) {
                (true, _) => every,
                (false, [first, .., last]) if usize::from(last - first) + 1 == of.len() => {
                    format!("{every}, from {} to {}", clock(*first, 0), clock(*last, 59))
                }
                _ => format!("{every}, in the hours {}", listed(hours, |hour| format!("{hour:02}"))),
            }
        }
    }
}

/// Returns the days of a cron expression in words that can follow its time. They are `every day` if all are allowed,
/// and otherwise begin with `on`, as in `on Monday to Friday`.
fn days(days: &Days) -> String {
    match days {
        Days::OfMonth(values) if values.is_all(DAY_OF_MONTH) => "every day".to_owned(),
        Days::OfMonth(values) => format!("on day {} of the month", listed(values, |day| day.to_string())),
        Days::LastOfMonth => "on the last day of the month".to_owned(),
        Days::NearestWeekday(day) => format!("on the weekday nearest to day {day} of the month"),
        Days::OfWeek(values) if values.is_all(DAY_OF_WEEK) => "every day".to_owned(),
        Days::OfWeek(values) => format!("on {}", listed(values, |day| name(&WEEKDAYS, day))),
        Days::LastOfWeek(day) => format!("on the last {} of the month", name(&WEEKDAYS, *day)),
        Days::NthOfWeek { day, nth } => {
            format!("on the {} {} of the month", name(&NTH, *nth), name(&WEEKDAYS, *day))
        }
    }
}

/// Returns the step of values that begin with `first` and go on evenly to the end of a cycle of this length, or `None`
/// if they do not, or if there are fewer than two.
fn step(values: &Values, first: u16, cycle: u16) -> Option<u16> {
    let values = values.as_slice();
    let (start, second) = (*values.first()?, *values.get(1)?);
    let step = second - start;
    let is_even = values.windows(2).all(|pair| pair[1] - pair[0] == step);
    (start == first && is_even && values.last().is_some_and(|last| last + step == cycle)).then_some(step)
}

/// Returns the name of a number, which counts from 1, or an empty text if there is none.
fn name(names: &[&str], number: u16) -> String {
    names.get(usize::from(number).wrapping_sub(1)).copied().unwrap_or_default().to_owned()
}

/// Returns values in words. Three or more in a row become a range.
fn listed(values: &Values, word: impl Fn(u16) -> String) -> String {
    let mut parts: Vec<(u16, u16)> = Vec::new();
    for value in values.as_slice() {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *value => *last = *value,
            _ => parts.push((*value, *value)),
        }
    }
    let words = parts.into_iter().flat_map(|(first, last)| match last - first {
        0 => vec![word(first)],
        1 => vec![word(first), word(last)],
        _ => vec![format!("{} to {}", word(first), word(last))],
    });
    joined(&words.collect::<Vec<_>>())
}

/// Joins words by commas, the last one by `and`.
fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schedules_are_said_in_words() {
        for (expression, expected) in [
            ("* * * * ? *", "Every minute (UTC)"),
            ("0/15 * * * ? *", "Every 15 minutes (UTC)"),
            ("*/7 * * * ? *", "At minute 0, 7, 14, 21, 28, 35, 42, 49 and 56, every day (UTC)"),
            ("0 * * * ? *", "Every hour (UTC)"),
            ("5 * * * ? *", "Every hour at minute 5 (UTC)"),
            ("0 0/6 * * ? *", "Every 6 hours (UTC)"),
            ("30 */2 ? * MON *", "Every 2 hours at minute 30, on Monday (UTC)"),
            ("0 9 ? * MON-FRI *", "At 09:00, on Monday to Friday (UTC)"),
            ("0,30 9,17 * * ? *", "At 09:00, 09:30, 17:00 and 17:30, every day (UTC)"),
            ("0/5 8-17 ? * MON-FRI *", "Every 5 minutes, from 08:00 to 17:59, on Monday to Friday (UTC)"),
            (
                "0/30 20-2 ? * SUN,SAT *",
                "Every 30 minutes, in the hours 00 to 02 and 20 to 23, on Sunday and Saturday (UTC)",
            ),
            ("0 18 L * ? *", "At 18:00, on the last day of the month (UTC)"),
            (
                "0 8 1,15 1-3,7 ? 2027",
                "At 08:00, on day 1 and 15 of the month, in January to March and July, in 2027 (UTC)",
            ),
            ("0 8 15W * ? *", "At 08:00, on the weekday nearest to day 15 of the month (UTC)"),
            ("0 8 ? * 3#2 *", "At 08:00, on the second Tuesday of the month (UTC)"),
            ("15 10 ? * 6L 2026-2028", "At 10:15, on the last Friday of the month, in 2026 to 2028 (UTC)"),
            ("rate(1 hours)", "Every hour"),
            ("rate(5 minute)", "Every 5 minutes"),
            ("at(2026-11-20T13:00:00)", "Once, on 20 November 2026 at 13:00:00 (UTC)"),
        ] {
            let config = json!({"expression": expression});
            let schedule = Schedule::read(config.as_object().unwrap()).unwrap();
            assert_eq!(schedule.describe(), expected, "{expression}");
        }
    }
}
