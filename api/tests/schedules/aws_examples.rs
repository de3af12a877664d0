//! The examples that AWS prints, with the times at which they fire.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>, Cron expressions, and
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

use serde_json::json;

use crate::{at, runs, schedule};
use agent_trigger_api::schedules::schedule::Schedule;

#[test]
fn the_printed_table_fires_as_it_says() {
    // 2026-01-01 is a Thursday.
    for (expression, expected) in [
        // At 10:00 every day.
        ("0 10 * * ? *", ["2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z", "2026-01-03T10:00:00Z"]),
        // At 12:15 every day.
        ("15 12 * * ? *", ["2026-01-01T12:15:00Z", "2026-01-02T12:15:00Z", "2026-01-03T12:15:00Z"]),
        // At 18:00 from Monday to Friday.
        ("0 18 ? * MON-FRI *", ["2026-01-01T18:00:00Z", "2026-01-02T18:00:00Z", "2026-01-05T18:00:00Z"]),
        // At 8:00 on the first day of the month.
        ("0 8 1 * ? *", ["2026-01-01T08:00:00Z", "2026-02-01T08:00:00Z", "2026-03-01T08:00:00Z"]),
        // Every 15 minutes.
        ("0/15 * * * ? *", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z", "2026-01-01T00:45:00Z"]),
        // Every 10 minutes from Monday to Friday.
        ("0/10 * ? * MON-FRI *", ["2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z", "2026-01-01T00:30:00Z"]),
        // Every 5 minutes from Monday to Friday between 8:00 and 17:55.
        ("0/5 8-17 ? * MON-FRI *", ["2026-01-01T08:00:00Z", "2026-01-01T08:05:00Z", "2026-01-01T08:10:00Z"]),
        // Every 30 minutes in the hours from 20 to 2, which pass midnight.
        ("0/30 20-2 ? * MON-FRI *", ["2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z", "2026-01-01T01:30:00Z"]),
        // At 10:15 on the last Friday of each month of two years.
        ("15 10 ? * 6L 2026-2027", ["2026-01-30T10:15:00Z", "2026-02-27T10:15:00Z", "2026-03-27T10:15:00Z"]),
        // The wildcards' examples: the second Tuesday, the weekday nearest to the third, the last day.
        ("0 0 ? * 3#2 *", ["2026-01-13T00:00:00Z", "2026-02-10T00:00:00Z", "2026-03-10T00:00:00Z"]),
        ("0 0 3W * ? *", ["2026-01-02T00:00:00Z", "2026-02-03T00:00:00Z", "2026-03-03T00:00:00Z"]),
        ("0 0 L * ? *", ["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("0 0 ? * L *", ["2026-01-03T00:00:00Z", "2026-01-10T00:00:00Z", "2026-01-17T00:00:00Z"]),
    ] {
        assert_eq!(runs(expression, "UTC", "2026-01-01T00:00:00Z", 3), expected, "{expression}");
    }
}

#[test]
fn weekdays_near_the_ends_of_months_stay_within_them() {
    // 2026-08-01 is a Saturday, 2026-05-31 a Sunday, 2026-02 has 28 days.
    let nearest = |expression: &str| runs(expression, "UTC", "2026-01-01T00:00:00Z", 12);
    assert!(nearest("0 0 1W * ? *").contains(&"2026-08-03T00:00:00Z".to_owned()));
    assert!(nearest("0 0 31W * ? *").contains(&"2026-05-29T00:00:00Z".to_owned()));
    let days = nearest("0 0 30W * ? *");
    assert!(!days.iter().any(|day| day.starts_with("2026-02")), "{days:?}");
}

#[test]
fn rare_days_are_found_and_impossible_ones_end() {
    assert_eq!(
        runs("0 0 29 2 ? *", "UTC", "2096-03-01T00:00:00Z", 2),
        ["2104-02-29T00:00:00Z", "2108-02-29T00:00:00Z"]
    );
    assert_eq!(runs("0 0 ? 2 1#5 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2032-02-29T00:00:00Z"]);
    assert_eq!(runs("0 0 30 2 ? *", "UTC", "2026-01-01T00:00:00Z", 1), Vec::<String>::new());
    assert_eq!(runs("0 0 1 1 ? 2027", "UTC", "2026-01-01T00:00:00Z", 3), ["2027-01-01T00:00:00Z"]);
    // The years of the expression may be far away, and rare from then on.
    assert_eq!(runs("0 0 1 1 ? 2199", "UTC", "2026-01-01T00:00:00Z", 2), ["2199-01-01T00:00:00Z"]);
    assert_eq!(runs("0 0 ? 2 1#5 2100-2199", "UTC", "2026-01-01T00:00:00Z", 1), ["2128-02-29T00:00:00Z"]);
    assert_eq!(runs("0 0 30 2 ? 2100-2199", "UTC", "2026-01-01T00:00:00Z", 1), Vec::<String>::new());
    assert_eq!(runs("0 0 1 1 ? 2020", "UTC", "2026-01-01T00:00:00Z", 3), Vec::<String>::new());
}

#[test]
fn rates_and_single_times() {
    // Without a start a rate begins when Scheduler gets it.
    assert_eq!(
        runs("rate(90 minutes)", "UTC", "2026-01-01T00:10:00Z", 3),
        ["2026-01-01T01:40:00Z", "2026-01-01T03:10:00Z", "2026-01-01T04:40:00Z"]
    );
    assert_eq!(runs("at(2026-07-01T09:00:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", 3), ["2026-07-01T07:00:00Z"]);
    let read = |config: serde_json::Value| Schedule::read(config.as_object().unwrap()).unwrap();
    let (now, day) = (at("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
    let started = read(json!({"expression": "rate(1 day)", "startDate": "2026-01-03T08:00:00Z",
        "endDate": "2026-01-05T08:00:00Z"}));
    let times: Vec<_> = started.runs_after(now, at(day)).map(|run| run.to_string()).collect();
    assert_eq!(times, ["2026-01-03T08:00:00Z", "2026-01-04T08:00:00Z"]);
    // It does not fire when it is saved, whenever that is asked.
    let rate = read(json!({"expression": "rate(1 day)"}));
    let next = rate.runs_after(at("2025-12-31T23:00:00Z"), now).next().map(|run| run.to_string());
    assert_eq!(next.as_deref(), Some("2026-01-02T00:00:00Z"));
    // Scheduler does not get a start that has passed, so a rate counts from the moment at which it was saved.
    let begun = read(json!({"expression": "rate(1 day)", "startDate": "2025-12-01T08:00:00Z"}));
    let next = begun.runs_after(at("2026-01-01T12:00:00Z"), now).next().map(|run| run.to_string());
    assert_eq!(next.as_deref(), Some("2026-01-02T00:00:00Z"));
    // It ignores the start and the end of a schedule that fires once.
    for dates in [("startDate", "2026-08-01T00:00:00Z"), ("endDate", "2026-06-01T00:00:00Z")] {
        let once = read(json!({"expression": "at(2026-07-01T09:00:00)", dates.0: dates.1}));
        let times: Vec<_> = once.runs_after(now, now).map(|run| run.to_string()).collect();
        assert_eq!(times, ["2026-07-01T09:00:00Z"], "{dates:?}");
    }
    let cron = read(json!({"expression": "0 8 * * ? *", "startDate": "2026-01-03T08:00:00Z",
        "endDate": "2026-01-05T08:00:00Z"}));
    let times: Vec<_> = cron.runs_after(now, now).map(|run| run.to_string()).collect();
    assert_eq!(times, ["2026-01-03T08:00:00Z", "2026-01-04T08:00:00Z"]);
}

#[test]
fn what_cannot_be_is_named_by_its_member() {
    for (config, member) in [
        (json!({}), "expression"),
        (json!({"expression": 5}), "expression"),
        (json!({"expression": "rate(5 minutes)", "timezone": "Mars/Olympus"}), "timezone"),
        (json!({"expression": "rate(5 minutes)", "timezone": "EST5EDT,M3.2.0,M11.1.0"}), "timezone"),
        (json!({"expression": "rate(5 minutes)", "timezone": ""}), "timezone"),
        (json!({"expression": "rate(5 minutes)", "startDate": "tomorrow"}), "startDate"),
        (
            json!({"expression": "rate(5 minutes)", "startDate": "2026-01-02T00:00:00Z", "endDate": "2026-01-02T00:00:00Z"}),
            "endDate",
        ),
        (json!({"expression": "rate(5 minutes)", "flexibleTimeWindowMinutes": 0}), "flexibleTimeWindowMinutes"),
        (json!({"expression": "rate(5 minutes)", "flexibleTimeWindowMinutes": 1441}), "flexibleTimeWindowMinutes"),
        // The clocks of Berlin skip this hour.
        (json!({"expression": "at(2026-03-29T02:30:00)", "timezone": "Europe/Berlin"}), "expression"),
    ] {
        let problems = Schedule::read(config.as_object().unwrap()).unwrap_err();
        assert_eq!(problems.iter().map(|(member, _)| *member).collect::<Vec<_>>(), [member], "{config}");
    }
    let both = json!({"expression": "never", "timezone": "nowhere"});
    assert_eq!(Schedule::read(both.as_object().unwrap()).unwrap_err().len(), 2);
    let now = at("2026-01-01T00:00:00Z");
    assert_eq!(schedule("0 0 30 2 ? *", "UTC").check(now, 1).unwrap_err().0, "expression");
    assert_eq!(schedule("at(2025-12-31T23:59:59)", "UTC").check(now, 1).unwrap_err().0, "expression");
}

#[test]
fn the_floor_between_runs_is_measured_by_the_runs() {
    let now = at("2026-01-01T00:00:00Z");
    for (expression, least, is_allowed) in [
        // Its text says 2 hours, and it fires every minute of every second hour.
        ("0/1 0/2 * * ? *", 10, false),
        ("0/10 * * * ? *", 10, true),
        ("0/7 * * * ? *", 10, false),
        // 56 and 0 lie 4 minutes apart.
        ("0/14 * * * ? *", 10, false),
        ("59,0 0,23 * * ? *", 10, false),
        ("0 0 1 1 ? *", 10, true),
        ("rate(9 minutes)", 10, false),
        ("rate(10 minutes)", 10, true),
        ("* * * * ? *", 1, true),
        ("at(2026-07-01T09:00:00)", 60, true),
    ] {
        assert_eq!(schedule(expression, "Europe/Berlin").check(now, least).is_ok(), is_allowed, "{expression}");
    }
}
