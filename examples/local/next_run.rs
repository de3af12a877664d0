//! The fires of the stand-in for Scheduler, by the API's own prediction. The tests of the API use it too.

use agent_trigger_api::schedules::schedule::Schedule;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Returns the next run after `after` of a schedule as the stand-in has it, in milliseconds since 1970.
pub(crate) fn next_run(schedule: &Value, after: i64) -> Option<i64> {
    let date = |name: &str| {
        let seconds = schedule[name].as_f64()?;
        Timestamp::from_second(seconds as i64).ok().map(|at| at.to_string())
    };
    let config = json!({"expression": schedule["ScheduleExpression"], "timezone": schedule["ScheduleExpressionTimezone"],
        "startDate": date("StartDate"), "endDate": date("EndDate")});
    let after = Timestamp::from_millisecond(after).ok()?;
    // A rate counts from the write, however often the clock looks.
    let saved = schedule["SavedAt"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(after);
    let schedule = Schedule::read(config.as_object()?).ok()?;
    schedule.runs_after(after, saved).next().map(|run| run.as_millisecond())
}
