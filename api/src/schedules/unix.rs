//! Translates cron expressions of five fields, as Unix has them, into Scheduler's dialect. Scheduler counts the days of
//! the week from 1, and cannot fire on a day of the month *or* of the week.

use crate::schedules::field::{DAY_OF_MONTH, HOUR, Kind, MINUTE, MONTH};

/// The days of the week from 0 to 7. Both ends are Sunday.
const UNIX_WEEKDAY: Kind = Kind {
    name: "day of week",
    first: 0,
    last: 7,
    cycle: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    has_steps: true,
};

/// Returns the six fields that fire when the five of Unix do. The weekdays count from 1 then, and the year is `*`.
///
/// # Errors
/// The error says which field is wrong, or that both day fields restrict the days, for which Scheduler has no
/// expression: the day of the month must be `*`, or every day of the week allowed.
pub fn translate(fields: [&str; 5]) -> Result<String, String> {
    let [minute, hour, day_of_month, month, day_of_week] = fields;
    for (kind, text) in [(MINUTE, minute), (HOUR, hour), (DAY_OF_MONTH, day_of_month), (MONTH, month)] {
        kind.values(text)?;
    }
    let days = UNIX_WEEKDAY.values(day_of_week)?;
    let mut weekdays: Vec<u16> = days.as_slice().iter().map(|day| day % 7 + 1).collect();
    weekdays.sort_unstable();
    weekdays.dedup();
    let is_every_weekday = weekdays.len() == 7;
    let (day_of_month, day_of_week) = match (day_of_month, is_every_weekday) {
        (day, true) => (day, "?".to_owned()),
        ("*", false) => ("?", listed(&weekdays)),
        _ => {
            let problem = "in a cron expression of five fields either the day of month or the day of week must be *: \
                           Scheduler cannot fire on one or the other";
            return Err(problem.to_owned());
        }
    };
    Ok(format!("{minute} {hour} {day_of_month} {month} {day_of_week} *"))
}

/// Returns ascending values as one range if they follow each other, or otherwise as a list.
fn listed(values: &[u16]) -> String {
    match values {
        [first, .., last] if usize::from(last - first) + 1 == values.len() => format!("{first}-{last}"),
        _ => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_become_six() {
        for (text, expected) in [
            ("0 9 * * *", Ok("0 9 * * ? *")),
            ("*/5 * * * *", Ok("*/5 * * * ? *")),
            ("30 9 * * 1-5", Ok("30 9 ? * 2-6 *")),
            ("0 2 * * 0", Ok("0 2 ? * 1 *")),
            ("0 2 * * 7", Ok("0 2 ? * 1 *")),
            ("0 2 * * 5-7", Ok("0 2 ? * 1,6,7 *")),
            ("0 2 * * 5-2/2", Ok("0 2 ? * 1,3,6 *")),
            ("0 2 * * 7-2", Ok("0 2 ? * 1-3 *")),
            ("0 2 * * SAT-SUN", Ok("0 2 ? * 1,7 *")),
            ("0 2 * * SAT,sun", Ok("0 2 ? * 1,7 *")),
            ("0 2 * * */2", Ok("0 2 ? * 1,3,5,7 *")),
            ("0 0 1,15 6 *", Ok("0 0 1,15 6 ? *")),
            ("0 0 1 * 0-6", Ok("0 0 1 * ? *")),
            ("0 0 1 * MON", Err("one or the other")),
            ("60 0 * * *", Err("minutes")),
            ("0 0 L * *", Err("day of month")),
            ("0 0 * * 8", Err("day of week")),
        ] {
            let fields: Vec<&str> = text.split(' ').collect();
            match (translate(fields.try_into().unwrap()), expected) {
                (Ok(translated), Ok(expected)) => assert_eq!(translated, expected, "{text}"),
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{text}: {problem}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
