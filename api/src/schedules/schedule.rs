//! A schedule as a trigger's `scheduleConfig` describes it.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use crate::schedules::{expression::Expression, next_runs::instant};

/// The longest flexible window in minutes (FlexibleTimeWindow, API reference).
const LONGEST_WINDOW: u64 = 1440;
/// The most runs that are looked at to find the shortest time between two. A day has 1,440 minutes.
const RUNS_FOR_GAP: usize = 1_500;

/// A schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The times at which it fires.
    pub expression: Expression,
    /// The zone whose clocks count.
    pub zone: TimeZone,
    /// The zone's name.
    pub zone_name: String,
    /// The first time at which it may fire. None if none is given, and for a schedule that fires once, as Scheduler
    /// ignores it then.
    pub start: Option<Timestamp>,
    /// The time from which on it does not fire. None if none is given, and for a schedule that fires once.
    pub end: Option<Timestamp>,
    /// The minutes within which Scheduler may choose the time of a fire. None if it fires on time.
    pub window_minutes: Option<u16>,
}

/// A problem of a schedule: the member of `scheduleConfig`, and one sentence.
pub type Problem = (&'static str, String);

impl Schedule {
    /// Reads a `scheduleConfig`. Members that it does not know are ignored, and null counts as absent. Only
    /// `expression` must be there. The zone is UTC if none is given. Times in the past are not refused.
    ///
    /// # Errors
    /// The error names every problem.
    pub fn read(config: &Map<String, Value>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |name: &'static str, problem: String| {
            problems.push((name, problem));
        };
        let text = |name: &str| match config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err("must be a string".to_owned()),
        };
        let expression = match text("expression") {
            Ok(Some(text)) => Expression::parse(text),
            Ok(None) => Err("is missing".to_owned()),
            Err(problem) => Err(problem),
        };
        let expression = expression.map_err(|problem| keep("expression", problem)).ok();
        let zone = text("timezone").and_then(|name| zone_of(name.unwrap_or("UTC")));
        let zone = zone.map_err(|problem| keep("timezone", problem)).ok();
        let mut date = |name: &'static str| {
            let parse = |text: &str| {
                text.parse().map_err(|_| "must be an RFC 3339 time such as 2026-01-31T07:00:00Z".to_owned())
            };
            let date = text(name).and_then(|text| text.map(parse).transpose());
            date.map_err(|problem| keep(name, problem)).ok().flatten()
        };
        let (start, end): (Option<Timestamp>, Option<Timestamp>) = (date("startDate"), date("endDate"));
        let window = match config.get("flexibleTimeWindowMinutes") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let minutes = value.as_u64().filter(|minutes| (1..=LONGEST_WINDOW).contains(minutes));
                let minutes = minutes.and_then(|minutes| u16::try_from(minutes).ok());
                minutes.map(Some).ok_or_else(|| format!("must be a whole number from 1 to {LONGEST_WINDOW}"))
            }
        };
        let window = window.map_err(|problem| keep("flexibleTimeWindowMinutes", problem)).ok().flatten();
        if let (Some(start), Some(end)) = (start, end)
            && start >= end
        {
            keep("endDate", "must be after startDate".to_owned());
        }
        if let (Some(Expression::At(at)), Some((zone, name))) = (&expression, &zone)
            && instant(zone, *at).is_none()
        {
            keep("expression", format!("this time does not exist in {name}: the clocks skip it"));
        }
        match (expression, zone) {
            (Some(expression), Some((zone, zone_name))) if problems.is_empty() => {
                // https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html, StartDate, EndDate
                let (start, end) = if matches!(expression, Expression::At(_)) { (None, None) } else { (start, end) };
                Ok(Self { expression, zone, zone_name, start, end, window_minutes: window })
            }
            _ => Err(problems),
        }
    }

    /// Checks two things that change with the time: the schedule will fire at all after `now`, and at least
    /// `least_minutes` lie between each two of its next 1,500 runs.
    ///
    /// # Errors
    /// The error says which of them is not so. It names `endDate` if that is not after `now`, and otherwise
    /// `expression`.
    pub fn check(&self, now: Timestamp, least_minutes: u32) -> Result<(), Problem> {
        if let Some(end) = self.end
            && end <= now
        {
            return Err(("endDate", "must be in the future".to_owned()));
        }
        if self.runs_after(now, now).next().is_none() {
            return Err(("expression", "never fires from now on".to_owned()));
        }
        // No expression fires more often than every minute.
        if least_minutes > 1
            && let Some(gap) = self.shortest_gap(now, RUNS_FOR_GAP)
            && gap.as_mins() < i64::from(least_minutes)
        {
            let problem = format!(
                "fires every {} minutes at times; at least {least_minutes} must lie between two runs",
                gap.as_mins()
            );
            return Err(("expression", problem));
        }
        Ok(())
    }
}

/// Finds a zone by its IANA name, and returns it with the name as the database spells it. An error says that there is
/// none.
fn zone_of(name: &str) -> Result<(TimeZone, String), String> {
    // jiff knows POSIX strings and files too, and those Scheduler does not.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
    let zone = Some(name).filter(|_| is_name).and_then(|name| jiff::tz::db().get(name).ok());
    let zone =
        zone.ok_or_else(|| format!("must be the IANA name of a time zone such as Europe/Berlin, not {name:?}"))?;
    let name = zone.iana_name().unwrap_or(name).to_owned();
    Ok((zone, name))
}
