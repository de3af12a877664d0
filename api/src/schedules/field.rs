//! One field of a cron expression: its values, given singly, as lists, ranges and steps.

/// The names of the months, beginning with 1.
pub const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// The names of the days of the week, beginning with 1.
pub const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field's place in the expression: its name for messages, its values, and the names that they may have.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The name for messages.
    pub name: &'static str,
    /// The least value.
    pub first: u16,
    /// The greatest value.
    pub last: u16,
    /// The number of different values. A range that passes the end goes on after so many.
    pub cycle: u16,
    /// The names of the values from `first` on.
    pub names: &'static [&'static str],
    /// True if steps (`/`) are allowed. Scheduler does not know them for days of the week.
    pub has_steps: bool,
}

/// The minutes of an hour.
pub const MINUTE: Kind = Kind { name: "minutes", first: 0, last: 59, cycle: 60, names: &[], has_steps: true };
/// The hours of a day.
pub const HOUR: Kind = Kind { name: "hours", first: 0, last: 23, cycle: 24, names: &[], has_steps: true };
/// The days of a month.
pub const DAY_OF_MONTH: Kind =
    Kind { name: "day of month", first: 1, last: 31, cycle: 31, names: &[], has_steps: true };
/// The months.
pub const MONTH: Kind = Kind { name: "month", first: 1, last: 12, cycle: 12, names: &MONTHS, has_steps: true };
/// The days of a week. The first is Sunday.
pub const DAY_OF_WEEK: Kind =
    Kind { name: "day of week", first: 1, last: 7, cycle: 7, names: &WEEKDAYS, has_steps: false };
/// The years that Scheduler knows.
pub const YEAR: Kind = Kind { name: "year", first: 1970, last: 2199, cycle: 230, names: &[], has_steps: true };

/// The values that a field allows, in ascending order and without repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values(Vec<u16>);

impl Values {
    /// Returns the values.
    pub fn as_slice(&self) -> &[u16] {
        &self.0
    }

    /// Returns true if the field allows `value`.
    pub fn contains(&self, value: u16) -> bool {
        self.0.binary_search(&value).is_ok()
    }

    /// Returns the least allowed value that is at least `value`, or `None` if there is none.
    pub fn at_least(&self, value: u16) -> Option<u16> {
        self.0.get(self.0.partition_point(|allowed| *allowed < value)).copied()
    }

    /// Returns true if every value of the kind is allowed.
    pub fn is_all(&self, kind: Kind) -> bool {
        self.0.len() == usize::from(kind.last - kind.first) + 1
    }
}

impl Kind {
    /// Reads one value: a number, or a name in any case.
    ///
    /// # Errors
    /// The error says what the value must be.
    pub fn value(self, text: &str) -> Result<u16, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(index) = named.and_then(|index| u16::try_from(index).ok()) {
            return Ok(self.first + index);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_number && (self.first..=self.last).contains(number));
        number.ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(" or {first} to {last}"),
                _ => String::new(),
            };
            format!("the {} must be from {} to {}{names}, not {text:?}", self.name, self.first, self.last)
        })
    }

    /// Reads a list of values, ranges and steps. A range may pass the end of the field, except for years: `22-2` are
    /// hours of a night.
    ///
    /// # Errors
    /// The error names the part that is wrong.
    pub fn values(self, text: &str) -> Result<Values, String> {
        let mut allowed = vec![false; usize::from(self.last) + 1];
        for part in text.split(',') {
            self.mark(part, &mut allowed)?;
        }
        let values = (self.first..=self.last).filter(|value| allowed[usize::from(*value)]);
        Ok(Values(values.collect()))
    }

    /// Marks the values that one part of a list allows: `*`, a value or a range, each perhaps with a step. A value is
    /// its own index in `allowed`. A value with a step goes on to the end. An error says what is wrong.
    fn mark(self, part: &str, allowed: &mut [bool]) -> Result<(), String> {
        let (range, step) = match part.split_once('/') {
            Some(_) if !self.has_steps => return Err(format!("the {} knows no steps (/), in {part:?}", self.name)),
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((from, to)) => (self.value(from)?, self.value(to)?),
            None => {
                let from = self.value(range)?;
                // `5/10` begins at 5 and goes on to the end.
                (from, if step.is_some() { self.last } else { from })
            }
        };
        if from > to && self.first == YEAR.first {
            return Err(format!("the {} range {range:?} goes backwards", self.name));
        }
        let passes_the_end = from > to;
        let end = if passes_the_end { to + self.cycle } else { to };
        for value in (from..=end).step_by(usize::from(step.unwrap_or(1))) {
            let value = if passes_the_end { self.first + (value - self.first) % self.cycle } else { value };
            allowed[usize::from(value)] = true;
        }
        Ok(())
    }

    /// Reads a step: a number from 1 to the number of the field's values. Anything else is an error.
    fn step(self, text: &str) -> Result<u16, String> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let most = self.last - self.first + 1;
        let step = text.parse().ok().filter(|step| is_number && (1..=most).contains(step));
        step.ok_or_else(|| format!("a step of the {} must be from 1 to {most}, not {text:?}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_lists_ranges_and_steps() {
        for (kind, text, expected) in [
            (MINUTE, "0", vec![0]),
            (MINUTE, "0/15", vec![0, 15, 30, 45]),
            (MINUTE, "*/20", vec![0, 20, 40]),
            (MINUTE, "50/4", vec![50, 54, 58]),
            (MINUTE, "5-10/2,7,59", vec![5, 7, 9, 59]),
            (HOUR, "22-2", vec![0, 1, 2, 22, 23]),
            (HOUR, "20-2/3", vec![2, 20, 23]),
            (MONTH, "jan,MAR-may,12", vec![1, 3, 4, 5, 12]),
            (MONTH, "NOV-FEB", vec![1, 2, 11, 12]),
            (DAY_OF_WEEK, "MON-FRI", vec![2, 3, 4, 5, 6]),
            (DAY_OF_WEEK, "SAT-SUN,4", vec![1, 4, 7]),
            (YEAR, "2026-2028", vec![2026, 2027, 2028]),
        ] {
            assert_eq!(kind.values(text).unwrap().as_slice(), expected, "{text}");
        }
        assert!(HOUR.values("*").unwrap().is_all(HOUR));
        assert!(YEAR.values("*").unwrap().is_all(YEAR));
        assert!(!HOUR.values("0-22").unwrap().is_all(HOUR));
    }

    #[test]
    fn what_is_no_field_is_named() {
        for (kind, text, part) in [
            (MINUTE, "60", "\"60\""),
            (MINUTE, "", "\"\""),
            (MINUTE, "1,", "\"\""),
            (MINUTE, "+1", "\"+1\""),
            (MINUTE, "0/0", "step"),
            (MINUTE, "0/61", "step"),
            (MINUTE, "*/", "step"),
            (HOUR, "1-", "\"\""),
            (HOUR, "1-2-3", "\"2-3\""),
            (HOUR, "JAN", "hours"),
            (MONTH, "0", "from 1 to 12 or JAN to DEC"),
            (DAY_OF_WEEK, "MON/2", "steps"),
            (DAY_OF_WEEK, "8", "\"8\""),
            (YEAR, "2030-2026", "backwards"),
            (YEAR, "1969", "1970"),
        ] {
            let problem = kind.values(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
