//! The routes for the times at which schedules fire: those of a trigger, of an expression that is being written, and of
//! all triggers.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use axum::extract::State;
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::{ApiError, Violation},
    page,
    reply::Reply,
    request::{JsonObject, Params, Path},
    schedules::{expression::Expression, next_runs::NextRuns, schedule::Schedule},
    store::triggers::MOST_LISTED,
    times::{self, rfc3339},
    triggers::{
        find,
        view::{is_enabled, saved_at, schedule_of, schedule_status},
    },
};

/// The number of runs that are shown, unless the client says otherwise.
const DEFAULT_RUNS: usize = 5;
/// The same for the runs of all triggers.
const DEFAULT_UPCOMING: usize = 20;

/// `GET /triggers/{id}/next-runs`: answers with the schedule of a trigger as [`preview_of`] shows it, with its next
/// `limit` runs, 5 by default. A trigger that is switched off has them too, and `enabled` says so.
///
/// # Errors
/// Returns an error if there is no such trigger, it has no schedule that can be read, or `limit` is wrong.
pub async fn next_runs(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Reply, ApiError> {
    let limit = page::limit(params.get("limit"), DEFAULT_RUNS)?;
    let item = find(&api, &caller, &id).await?;
    let now = times::now();
    let Some(schedule) = schedule_of(&item) else {
        return Err(ApiError::Conflict { message: "the trigger has no schedule".to_owned(), details: json!({}) });
    };
    let mut shown = preview_of(&schedule, now, saved_at(&item, now), limit);
    shown["triggerId"] = json!(id);
    shown["enabled"] = json!(is_enabled(&item));
    Ok(Reply::ok(shown))
}

/// `POST /schedules/preview`: answers with a schedule that is being written as [`preview_of`] shows it. The body is
/// `{expression, timezone?, startDate?, endDate?, flexibleTimeWindowMinutes?, limit?}`. Nothing is written.
///
/// # Errors
/// The error says that `limit` is wrong, or names every problem of the schedule, or the first reason why it is not
/// allowed.
pub async fn preview(State(api): State<Arc<Api>>, JsonObject(body): JsonObject) -> Result<Reply, ApiError> {
    let limit = match body.get("limit") {
        None | Some(Value::Null) => DEFAULT_RUNS,
        Some(limit) => page::limit(Some(&limit.to_string()), DEFAULT_RUNS)?,
    };
    let violation = |(field, description): (&str, String)| Violation { field: field.to_owned(), description };
    let schedule = Schedule::read(&body)
        .map_err(|problems| ApiError::Validation(problems.into_iter().map(violation).collect()))?;
    let now = times::now();
    let problem = schedule.check(now, api.settings.min_schedule_minutes);
    problem.map_err(|problem| ApiError::Validation(vec![violation(problem)]))?;
    Ok(Reply::ok(preview_of(&schedule, now, now, limit)))
}

/// `GET /upcoming-runs`: answers with the next `limit` runs, 20 by default, of all of a user's triggers together, the
/// earliest first. Triggers whose schedule status is not `ok` are left out. At most 1,000 triggers count.
///
/// # Errors
/// Returns an error if `limit` is wrong, or the table refuses or does not answer.
pub async fn upcoming(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<Reply, ApiError> {
    let limit = page::limit(params.get("limit"), DEFAULT_UPCOMING)?;
    let now = times::now();
    // Where Scheduler does not have what the trigger says, its runs would be promised in vain.
    let is_ok = |item: &Map<String, Value>| schedule_status(item, now) == Some("ok");
    let found = api.items.triggers(&caller.0, None, MOST_LISTED, is_ok).await?;
    let schedules = found.items.iter().filter_map(|item| Some((schedule_of(item)?, item)));
    let schedules: Vec<(Schedule, &Map<String, Value>)> = schedules.collect();
    let coming = schedules.iter().map(|(schedule, item)| schedule.runs_after(now, saved_at(item, now)));
    let shown: Vec<Value> = earliest(coming.collect(), limit)
        .into_iter()
        .map(|(run, at)| (run, schedules[at].1))
        .map(|(run, item)| json!({"triggerId": item.get("id"), "name": item.get("name"), "at": rfc3339(run)}))
        .collect();
    let count = shown.len();
    Ok(Reply::ok(json!({"runs": shown})).count(count))
}

/// Returns the first `limit` times of several ascending ones, each with the place of its iterator.
fn earliest(mut coming: Vec<NextRuns<'_>>, limit: usize) -> Vec<(Timestamp, usize)> {
    let firsts = coming.iter_mut().enumerate().filter_map(|(at, runs)| Some(Reverse((runs.next()?, at))));
    let mut heads: BinaryHeap<_> = firsts.collect();
    let mut found = Vec::with_capacity(limit);
    while found.len() < limit
        && let Some(Reverse((run, at))) = heads.pop()
    {
        found.push((run, at));
        heads.extend(coming[at].next().map(|next| Reverse((next, at))));
    }
    found
}

/// Returns a schedule as answers show it: in words, as Scheduler gets it, and its next `limit` runs after `now` in UTC
/// and in its zone. One note says that a rate counts from `saved`, if it has no later start. Another says that the
/// clocks change between the runs. A run of a calendar whose time comes twice has a note of its own.
pub fn preview_of(schedule: &Schedule, now: Timestamp, saved: Timestamp, limit: usize) -> Value {
    let runs: Vec<Timestamp> = schedule.runs_after(now, saved).take(limit).collect();
    // A rate counts the time that passes, whatever the clocks show.
    let is_rate = matches!(schedule.expression, Expression::Rate { .. });
    let shown: Vec<Value> = runs
        .iter()
        .map(|run| {
            let there = run.to_zoned(schedule.zone.clone());
            let mut shown = json!({"utc": rfc3339(*run), "local": there.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()});
            if let Some(note) = note(&there).filter(|_| !is_rate) {
                shown["note"] = json!(note);
            }
            shown
        })
        .collect();
    let mut notes = Vec::new();
    if is_rate && schedule.start.is_none_or(|start| start <= saved) {
        notes.push("a rate counts from the moment at which the schedule is saved");
    }
    if runs.windows(2).any(|pair| offset(schedule, pair[0]) != offset(schedule, pair[1])) {
        notes.push("the clocks change between these runs");
    }
    json!({"expression": schedule.expression.canonical(), "timezone": schedule.zone_name,
        "description": schedule.describe(), "nextRuns": shown, "notes": notes})
}

/// Returns the offset of the schedule's zone at this time.
fn offset(schedule: &Schedule, at: Timestamp) -> jiff::tz::Offset {
    schedule.zone.to_offset(at)
}

/// Returns a note on a run whose time comes twice on that day, or `None` for any other.
fn note(run: &Zoned) -> Option<&'static str> {
    let ambiguous = run.time_zone().to_ambiguous_timestamp(run.datetime());
    let is_repeated = matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Fold { .. });
    is_repeated.then_some("this time comes twice, because the clocks go back; it runs once, at the first")
}
