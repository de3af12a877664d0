//! Every change of every zone's clocks in the next three years, against a brute-force walk over all its minutes.

use std::collections::HashSet;

use agent_trigger_api::schedules::{expression::Expression, schedule::Schedule};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::{at, runs, schedule};

/// Fires every minute, every half hour, at times that most changes skip or repeat, and at midnight.
const EXPRESSIONS: [&str; 5] = ["* * * * ? *", "0/30 * * * ? *", "30 1-3 * * ? *", "0 0 * * ? *", "15 2 ? * SUN *"];

/// Returns the times of a walk that fit: each minute whose civil time fits and has not come before.
fn brute_force(schedule: &Schedule, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let Expression::Cron(cron) = &schedule.expression else { panic!("cron only") };
    let mut seen: HashSet<DateTime> = HashSet::new();
    let mut found = Vec::new();
    // Enough minutes before the window that every repeated time in it has been seen.
    let mut minute = from - SignedDuration::from_hours(30);
    while minute <= to {
        let civil = zone.to_datetime(minute);
        let is_first = seen.insert(civil);
        let number = |value: i8| u16::try_from(value).unwrap();
        let weekday = u16::try_from(civil.weekday().to_sunday_zero_offset()).unwrap() + 1;
        let fits = cron.minutes.contains(number(civil.minute()))
            && cron.hours.contains(number(civil.hour()))
            && match &cron.days {
                agent_trigger_api::schedules::cron::Days::OfWeek(days) => days.contains(weekday),
                _ => true,
            };
        if minute > from && is_first && fits && civil.second() == 0 {
            found.push(minute);
        }
        minute += SignedDuration::from_mins(1);
    }
    found
}

#[test]
fn every_change_of_every_zone_is_right() {
    let (from, to) = (at("2026-11-01T00:00:00Z"), at("2029-11-01T00:00:00Z"));
    let mut changes = 0;
    let mut checked = HashSet::new();
    for name in jiff::tz::db().available() {
        let zone = jiff::tz::db().get(name.as_str()).unwrap();
        for change in zone.following(from).take_while(|change| change.timestamp() < to) {
            changes += 1;
            let before = zone.to_offset(change.timestamp() - SignedDuration::from_secs(1));
            // Zones that change at one instant between the same offsets are one case.
            if !checked.insert((change.timestamp(), before, change.offset())) {
                continue;
            }
            let window = SignedDuration::from_hours(4);
            let (start, end) = (change.timestamp() - window, change.timestamp() + window);
            for expression in EXPRESSIONS {
                let schedule = schedule(expression, name.as_str());
                let expected = brute_force(&schedule, &zone, start, end);
                let runs = schedule.runs_after(start, start);
                let found: Vec<_> = runs.take_while(|run| *run <= end).collect();
                assert_eq!(found, expected, "{expression} in {name} at {}", change.timestamp());
            }
        }
    }
    assert!(changes > 500, "only {changes} changes");
}

#[test]
fn a_time_that_is_left_out_is_skipped_and_one_that_comes_twice_runs_once() {
    assert_eq!(
        runs("30 2 * * ? *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        // On 29 March 02:30 does not exist.
        ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
    );
    assert_eq!(
        runs("30 2 * * ? *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        // On 25 October 02:30 comes at 00:30Z and again at 01:30Z.
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    assert_eq!(
        runs("0 9 ? * MON-FRI *", "America/New_York", "2026-03-06T12:00:00Z", 2),
        ["2026-03-06T14:00:00Z", "2026-03-09T13:00:00Z"],
        "9 o'clock stays 9 o'clock"
    );
}
