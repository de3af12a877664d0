//! Cron expressions of six fields: minutes, hours, day of month, month, day of week and year. One of the two day fields
//! is `?`.

use crate::schedules::field::{DAY_OF_MONTH, DAY_OF_WEEK, HOUR, Kind, MINUTE, MONTH, Values, YEAR};

/// The days on which a cron expression fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Days {
    /// These days of the month.
    OfMonth(Values),
    /// The last day of the month (`L`).
    LastOfMonth,
    /// The weekday, Monday to Friday, that is nearest to this day within the month (`15W`). A month without this day
    /// has none.
    NearestWeekday(u16),
    /// These days of the week. 1 is Sunday.
    OfWeek(Values),
    /// The last such day of the week in the month (`6L`).
    LastOfWeek(u16),
    /// The nth such day of the week in the month (`3#2`).
    NthOfWeek {
        /// The day of the week, of which 1 is Sunday.
        day: u16,
        /// 1 to 5.
        nth: u16,
    },
}

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// The minutes.
    pub minutes: Values,
    /// The hours.
    pub hours: Values,
    /// The days.
    pub days: Days,
    /// The months.
    pub months: Values,
    /// The years.
    pub years: Values,
    /// The six fields as Scheduler gets them: in upper case, with single spaces.
    pub text: String,
}

impl Cron {
    /// Reads the six fields. Case and further blanks do not matter.
    ///
    /// # Errors
    /// The error says how many fields there are if they are not six, or otherwise how the first wrong one is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
        let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
        let [minutes, hours, day_of_month, months, day_of_week, years] = fields[..] else {
            let count = fields.len();
            return Err(format!(
                "a cron expression has six fields (minutes hours day-of-month month day-of-week year), not {count}"
            ));
        };
        Ok(Self {
            minutes: MINUTE.values(minutes)?,
            hours: HOUR.values(hours)?,
            days: days(day_of_month, day_of_week)?,
            months: MONTH.values(months)?,
            years: YEAR.values(years)?,
            text: text.clone(),
        })
    }
}

/// Reads the two day fields, exactly one of which must be `?`. An error says what is wrong.
fn days(day_of_month: &str, day_of_week: &str) -> Result<Days, String> {
    match (day_of_month, day_of_week) {
        ("?", "?") => Err("only one of day-of-month and day-of-week can be ?".to_owned()),
        ("?", day) => of_week(day),
        (day, "?") => of_month(day),
        _ => Err("one of day-of-month and day-of-week must be ?".to_owned()),
    }
}

/// Reads the field of the day of the month, with `L` and `W`. An error says what is wrong.
fn of_month(text: &str) -> Result<Days, String> {
    if text == "L" {
        return Ok(Days::LastOfMonth);
    }
    match text.strip_suffix('W') {
        Some(day) => alone(DAY_OF_MONTH, day, "W").map(Days::NearestWeekday),
        None => DAY_OF_MONTH.values(text).map(Days::OfMonth),
    }
}

/// Reads the field of the day of the week, with `L` and `#`. `L` alone is Saturday. An error says what is wrong.
fn of_week(text: &str) -> Result<Days, String> {
    if text == "L" {
        // The last day of the week, which is Saturday.
        return DAY_OF_WEEK.values("7").map(Days::OfWeek);
    }
    if let Some((day, nth)) = text.split_once('#') {
        let day = alone(DAY_OF_WEEK, day, "#")?;
        let is_number = nth.bytes().all(|byte| byte.is_ascii_digit());
        let nth = nth.parse().ok().filter(|nth| is_number && (1..=5).contains(nth));
        let nth = nth.ok_or_else(|| format!("after # stands one number from 1 to 5, in {text:?}"))?;
        return Ok(Days::NthOfWeek { day, nth });
    }
    match text.strip_suffix('L') {
        Some(day) => alone(DAY_OF_WEEK, day, "L").map(Days::LastOfWeek),
        None => DAY_OF_WEEK.values(text).map(Days::OfWeek),
    }
}

/// Reads the one value that may stand with the `mark` `L`, `W` or `#`, which `text` no longer has. A list, a range, a
/// step, `*` or `?` is an error.
fn alone(kind: Kind, text: &str, mark: &str) -> Result<u16, String> {
    if text.contains([',', '-', '/', '*', '?']) {
        return Err(format!("with {mark} the {} is one day, not {text:?}", kind.name));
    }
    kind.value(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_are_those_of_one_field() {
        let of = |text: &str| Cron::parse(text).map(|cron| cron.days);
        let values = |kind: Kind, text: &str| kind.values(text).unwrap();
        for (text, expected) in [
            ("0 0 ? * L *", Days::OfWeek(values(DAY_OF_WEEK, "7"))),
            ("0 0 ? * 6L *", Days::LastOfWeek(6)),
            ("0 0 ? * fril *", Days::LastOfWeek(6)),
            ("0 0 ? * 3#2 *", Days::NthOfWeek { day: 3, nth: 2 }),
            ("0 0 ? * TUE#5 *", Days::NthOfWeek { day: 3, nth: 5 }),
            ("0 0 ? * * *", Days::OfWeek(values(DAY_OF_WEEK, "*"))),
            ("0 0 L * ? *", Days::LastOfMonth),
            ("0 0 15W * ? *", Days::NearestWeekday(15)),
            ("0 0 1/7 * ? *", Days::OfMonth(values(DAY_OF_MONTH, "1,8,15,22,29"))),
        ] {
            assert_eq!(of(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_scheduler_does_not_know_is_refused() {
        for (text, part) in [
            ("0 9 * * *", "six fields"),
            ("0 9 * * ? * *", "not 7"),
            ("", "not 0"),
            ("0 9 * * * *", "must be ?"),
            ("0 9 1 * MON *", "must be ?"),
            ("0 9 ? * ? *", "only one"),
            ("0 9 ? ? MON *", "month"),
            ("0 9 LW * ? *", "day of month"),
            ("0 9 1,L * ? *", "day of month"),
            ("0 9 1-5W * ? *", "one day"),
            ("0 9 32W * ? *", "32"),
            ("0 9 ? * 3#1,6#3 *", "#"),
            ("0 9 ? * 3#6 *", "1 to 5"),
            ("0 9 ? * 3#+2 *", "1 to 5"),
            ("0 9 ? * MON,FRIL *", "one day"),
            ("? 9 ? * MON *", "minutes"),
            ("L 9 ? * MON *", "minutes"),
        ] {
            let problem = Cron::parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn scheduler_gets_upper_case_and_single_spaces() {
        assert_eq!(Cron::parse("  0  9 ?\t* mon-fri * ").unwrap().text, "0 9 ? * MON-FRI *");
    }
}
