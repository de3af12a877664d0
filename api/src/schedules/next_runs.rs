//! The times at which a schedule fires. A civil time that a change of the clocks leaves out is skipped. A civil time
//! that comes twice fires once, at its first occurrence.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>, Daylight savings time

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, date, time},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::schedules::{
    cron::{Cron, Days},
    expression::Expression,
    schedule::Schedule,
};

/// An iterator over the times at which a schedule fires, in ascending order.
#[derive(Debug, Clone)]
pub struct NextRuns<'a> {
    schedule: &'a Schedule,
    /// Only times after this one are returned.
    after: Timestamp,
    /// The time from which a rate counts.
    anchor: Timestamp,
}

impl Schedule {
    /// Returns the times after `after` at which the schedule fires: none before its start, and none from its end on. A
    /// rate counts from `saved`, the time at which Scheduler got it, or from the schedule's start if that is later. It
    /// fires at such a start, but not at `saved`. For other expressions `saved` does not matter.
    pub fn runs_after(&self, after: Timestamp, saved: Timestamp) -> NextRuns<'_> {
        let anchor = self.start.map_or(saved, |start| start.max(saved));
        // At its start a schedule may fire. When it is saved a rate does not.
        let before_start = self.start.map(|start| start - SignedDuration::from_nanos(1));
        let is_from_saved = matches!(self.expression, Expression::Rate { .. }) && anchor == saved;
        let earliest = if is_from_saved { Some(saved) } else { before_start };
        NextRuns { schedule: self, after: earliest.map_or(after, |earliest| after.max(earliest)), anchor }
    }

    /// Returns the shortest time between two of the next `most` runs after `now`, or `None` if there are fewer than
    /// two. For a rate it is always the interval.
    pub fn shortest_gap(&self, now: Timestamp, most: usize) -> Option<SignedDuration> {
        if let Expression::Rate { seconds, .. } = &self.expression {
            return Some(SignedDuration::from_secs(*seconds));
        }
        let runs: Vec<Timestamp> = self.runs_after(now, now).take(most).collect();
        runs.windows(2).map(|pair| pair[1].duration_since(pair[0])).min()
    }
}

impl Iterator for NextRuns<'_> {
    type Item = Timestamp;

    /// Returns the next time, or `None` if the schedule fires no more or has ended.
    fn next(&mut self) -> Option<Timestamp> {
        let Schedule { expression, zone, end, .. } = self.schedule;
        let next = match expression {
            Expression::Cron(cron) => next_cron(cron, zone, self.after),
            Expression::Rate { seconds, .. } => next_rate(self.anchor, *seconds, self.after),
            Expression::At(at) => instant(zone, *at).filter(|at| *at > self.after),
        }?;
        if end.is_some_and(|end| next >= end) {
            return None;
        }
        self.after = next;
        Some(next)
    }
}

/// Returns the instant of a civil time: its first occurrence, or `None` if the zone leaves it out.
pub fn instant(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => None,
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
    }
}

/// Returns the first time of a rate after `after`: `anchor`, or a whole number of intervals later. Returns `None`
/// beyond the calendar.
fn next_rate(anchor: Timestamp, seconds: i64, after: Timestamp) -> Option<Timestamp> {
    if after < anchor {
        return Some(anchor);
    }
    let passed = after.duration_since(anchor).as_secs() / seconds;
    anchor.checked_add(SignedDuration::from_secs(seconds.checked_mul(passed.checked_add(1)?)?)).ok()
}

/// Returns the first time after `after` at which a cron expression fires by the zone's clocks, or `None` if it fires no
/// more. Times that the clocks leave out are passed over.
fn next_cron(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    // The civil time of `after` is a lower bound: within a fold the times that come twice were fired before.
    let from = zone.to_datetime(after);
    let mut from = date(from.year(), from.month(), from.day()).to_datetime(time(from.hour(), from.minute(), 0, 0));
    loop {
        let civil = next_civil(cron, from)?;
        if let Some(found) = instant(zone, civil).filter(|found| *found > after) {
            return Some(found);
        }
        from = civil.checked_add(jiff::Span::new().minutes(1)).ok()?;
    }
}

/// Returns the first civil time that is at least `from` and fits the expression. Returns `None` if the years of the
/// expression end before.
fn next_civil(cron: &Cron, from: DateTime) -> Option<DateTime> {
    let mut day = from.date();
    let mut earliest = (from.hour(), from.minute());
    loop {
        let found = next_day(cron, day)?;
        if found != day {
            earliest = (0, 0);
        }
        if let Some((hour, minute)) = next_time(cron, earliest) {
            return Some(found.at(hour, minute, 0, 0));
        }
        day = found.tomorrow().ok()?;
        earliest = (0, 0);
    }
}

/// Returns the first time of a day that is at least `earliest`, an hour and a minute, or `None` if none is left on it.
fn next_time(cron: &Cron, earliest: (i8, i8)) -> Option<(i8, i8)> {
    let (hour, minute) = (u16::try_from(earliest.0).ok()?, u16::try_from(earliest.1).ok()?);
    let small = |hour: u16, minute: u16| Some((i8::try_from(hour).ok()?, i8::try_from(minute).ok()?));
    if cron.hours.contains(hour)
        && let Some(minute) = cron.minutes.at_least(minute)
    {
        return small(hour, minute);
    }
    small(cron.hours.at_least(hour + 1)?, cron.minutes.at_least(0)?)
}

/// Returns the first day that is at least `from` and fits, or `None` if there is none. Some expressions never fire (`0
/// 0 30 2 ? *`), and the years end the search: Scheduler knows those up to 2199.
fn next_day(cron: &Cron, from: Date) -> Option<Date> {
    let mut day = from;
    loop {
        let year = i16::try_from(cron.years.at_least(u16::try_from(day.year()).ok()?)?).ok()?;
        if year != day.year() {
            day = date(year, 1, 1);
        }
        let Some(month) = cron.months.at_least(u16::try_from(day.month()).ok()?) else {
            day = date(year, 1, 1).checked_add(jiff::Span::new().years(1)).ok()?;
            continue;
        };
        let month = i8::try_from(month).ok()?;
        if month != day.month() {
            day = date(year, month, 1);
        }
        while day.month() == month {
            if is_on(&cron.days, day) {
                return Some(day);
            }
            day = day.tomorrow().ok()?;
        }
    }
}

/// Returns true if a day is one of `days`.
fn is_on(days: &Days, day: Date) -> bool {
    let number = day.day();
    let last = day.days_in_month();
    // Sunday is 1.
    let weekday = |day: Date| u16::try_from(day.weekday().to_sunday_zero_offset()).unwrap_or_default() + 1;
    match days {
        Days::OfMonth(values) => u16::try_from(number).is_ok_and(|number| values.contains(number)),
        Days::LastOfMonth => number == last,
        Days::NearestWeekday(wanted) => i8::try_from(*wanted).is_ok_and(|wanted| {
            // A month without the day has none near it.
            wanted <= last && nearest_weekday(day, wanted, last) == number
        }),
        Days::OfWeek(values) => values.contains(weekday(day)),
        Days::LastOfWeek(wanted) => weekday(day) == *wanted && number + 7 > last,
        Days::NthOfWeek { day: wanted, nth } => {
            weekday(day) == *wanted && u16::try_from((number - 1) / 7 + 1).is_ok_and(|found| found == *nth)
        }
    }
}

/// Returns the day of the month of `day` that is from Monday to Friday and nearest to `wanted`, within the month.
/// `last` is the month's last day. `wanted` must not be after it.
fn nearest_weekday(day: Date, wanted: i8, last: i8) -> i8 {
    match date(day.year(), day.month(), wanted).weekday().to_monday_one_offset() {
        6 if wanted == 1 => wanted + 2,
        6 => wanted - 1,
        7 if wanted == last => wanted - 2,
        7 => wanted + 1,
        _ => wanted,
    }
}
