//! Schedule expressions: `cron(…)`, `rate(…)` and `at(…)`. Six or five bare fields count as cron.

use jiff::{civil::DateTime, fmt::strtime};

use crate::schedules::{cron::Cron, unix};

/// The longest expression that Scheduler takes, in characters (CreateSchedule, API reference).
const LONGEST: usize = 256;
const AT_FORMAT: &str = "%Y-%m-%dT%H:%M:%S";

/// The meaning of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// At times of a calendar.
    Cron(Box<Cron>),
    /// At equal intervals.
    Rate {
        /// The interval in seconds.
        seconds: i64,
        /// The value and the unit as they were given.
        text: String,
    },
    /// Once.
    At(DateTime),
}

impl Expression {
    /// Reads an expression: `cron(…)`, `rate(…)` or `at(…)` in lower case, of at most 256 characters as it is given and
    /// as Scheduler gets it. `rate` without parentheses, and five or six bare fields of cron, are read too. Five
    /// fields, bare or in `cron(…)`, are translated from Unix's dialect. An `at` may lie in the past.
    ///
    /// # Errors
    /// The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.chars().count() > LONGEST {
            return Err(format!("has at most {LONGEST} characters"));
        }
        let expression = Self::read(text)?;
        let canonical = expression.canonical();
        if canonical.chars().count() > LONGEST {
            return Err(format!("has at most {LONGEST} characters as Scheduler gets it: {canonical}"));
        }
        Ok(expression)
    }

    /// Reads a trimmed expression of any length. An error says what is wrong with it.
    fn read(text: &str) -> Result<Self, String> {
        if let Some(fields) = inside(text, "cron") {
            return cron(fields);
        }
        if let Some(rate) = inside(text, "rate") {
            return self::rate(rate);
        }
        if let Some(time) = inside(text, "at") {
            let time = strtime::parse(AT_FORMAT, time.trim()).and_then(|parsed| parsed.to_datetime());
            return time.map(Self::At).map_err(|_| "must be at(yyyy-mm-ddThh:mm:ss)".to_owned());
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        match fields[..] {
            ["rate", value, unit] => rate(&format!("{value} {unit}")),
            [minute, hour, day_of_month, month, day_of_week] => {
                cron(&unix::translate([minute, hour, day_of_month, month, day_of_week])?)
            }
            [_, _, _, _, _, _] => cron(text),
            _ => Err("must be cron(…), rate(…), at(…), or the five or six fields of a cron expression".to_owned()),
        }
    }

    /// Returns the expression as Scheduler gets it: `cron(…)` of six fields, `rate(…)` or `at(…)`.
    pub fn canonical(&self) -> String {
        match self {
            Self::Cron(cron) => format!("cron({})", cron.text),
            Self::Rate { text, .. } => format!("rate({text})"),
            Self::At(time) => format!("at({})", time.strftime(AT_FORMAT)),
        }
    }
}

/// Returns the text in the parentheses after `name`, or `None` if the text does not have this form.
fn inside<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// Reads the fields of a cron expression. Five are translated from Unix's dialect. An error says what is wrong.
fn cron(fields: &str) -> Result<Expression, String> {
    let count = fields.split_whitespace().count();
    let cron = match fields.split_whitespace().collect::<Vec<_>>()[..] {
        // S2's and S4's habit of writing the five fields into the parentheses would be refused by Scheduler.
        [a, b, c, d, e] if count == 5 => Cron::parse(&unix::translate([a, b, c, d, e])?)?,
        _ => Cron::parse(fields)?,
    };
    Ok(Expression::Cron(Box::new(cron)))
}

/// Reads the value and the unit of a rate: a positive whole number of minutes, hours or days. Anything else is an
/// error.
fn rate(text: &str) -> Result<Expression, String> {
    let problem = || "must be rate(value unit) with a positive whole number of minutes, hours or days".to_owned();
    let mut parts = text.split_whitespace();
    let (Some(value), Some(unit), None) = (parts.next(), parts.next(), parts.next()) else { return Err(problem()) };
    let unit_seconds = match unit.to_ascii_lowercase().as_str() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 60 * 60,
        "day" | "days" => 24 * 60 * 60,
        _ => return Err(problem()),
    };
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let count: i64 = value.parse().ok().filter(|count| is_number && *count > 0).ok_or_else(problem)?;
    let seconds = count.checked_mul(unit_seconds).ok_or_else(problem)?;
    Ok(Expression::Rate { seconds, text: format!("{count} {}", unit.to_ascii_lowercase()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_becomes_what_scheduler_takes() {
        for (text, expected) in [
            ("cron(0 9 ? * MON-FRI *)", "cron(0 9 ? * MON-FRI *)"),
            (" 0 9 ? * mon-fri * ", "cron(0 9 ? * MON-FRI *)"),
            ("0 9 * * 1-5", "cron(0 9 ? * 2-6 *)"),
            ("cron(*/5 * * * *)", "cron(*/5 * * * ? *)"),
            ("rate(5 minutes)", "rate(5 minutes)"),
            ("rate(1 Hour)", "rate(1 hour)"),
            ("rate 2 days", "rate(2 days)"),
            ("at(2026-11-20T13:00:00)", "at(2026-11-20T13:00:00)"),
        ] {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(expression.canonical(), expected, "{text}");
            assert_eq!(Expression::parse(expected), Ok(expression), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            "daily",
            "cron()",
            "cron(0 9 ? * MON-FRI *",
            "cron (0 9 ? * MON-FRI *)",
            "CRON(0 9 ? * MON-FRI *)",
            "rate(0 minutes)",
            "rate(-5 minutes)",
            "rate(1.5 hours)",
            "rate(5 seconds)",
            "rate(5 weeks)",
            "rate(5)",
            "rate(5 minutes 3)",
            "rate(99999999999999999999 minutes)",
            "rate(999999999999999999 days)",
            "at(2026-02-30T13:00:00)",
            "at(2026-11-20T13:00)",
            "at(2026-11-20T13:00:00Z)",
            "at(2026-11-20 13:00:00)",
            "at(tomorrow)",
            "0 9 * *",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        assert!(Expression::parse(&format!("cron(0 9 ? * MON{} *)", ",MON".repeat(80))).is_err());
        // Bare fields grow by the word and its parentheses.
        let problem = Expression::parse(&format!("0,{} 9 ? * MON *", vec!["00"; 80].join(","))).unwrap_err();
        assert!(problem.contains("as Scheduler gets it"), "{problem}");
    }
}
