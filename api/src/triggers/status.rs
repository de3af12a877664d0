//! `GET /triggers/{id}/status`: everything that says whether a trigger will run, with what Scheduler itself has.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    executions,
    reply::Reply,
    request::Path,
    store::executions::Filter,
    times::{self, rfc3339},
    triggers::{
        find,
        sync::{agrees, foreign_group},
        view::{is_enabled, saved_at, schedule_of, schedule_status},
    },
};

/// The number of coming runs that are shown.
const NEXT_RUNS: usize = 3;

/// `GET /triggers/{id}/status`: whether the trigger is on, its health, its last run, and for a schedule what Scheduler
/// has and the next runs. If Scheduler refuses or does not answer, or another API has made the schedule, that part is
/// unknown.
///
/// # Errors
/// Returns an error if there is no such trigger, or the table refuses or does not answer.
pub async fn status(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find(&api, &caller, &id).await?;
    let now = times::now();
    let filter = Filter::default();
    let schedule = schedule_of(&item);
    let known = async {
        match &schedule {
            // The API may not read the schedules of another one.
            Some(_) if foreign_group(&item, api.scheduler.group()).is_none() => Some(api.scheduler.get(&id).await),
            _ => None,
        }
    };
    let last = api.items.executions(&caller.0, &id, &filter, None, 1);
    let (known, last) = tokio::join!(known, last);
    let last = last?.rows.first().map(executions::view::listed);
    let mut answer = json!({"triggerId": id, "enabled": is_enabled(&item), "health": "ok", "failures": 0});
    answer["lastRun"] = last.unwrap_or_default();
    for name in [
        "health",
        "healthSince",
        "failures",
        "healthErrorType",
        "healthError",
        "healthExecutionId",
        "pausedAt",
        "pausedReason",
        "lastExecutedAt",
    ] {
        if let Some(value) = item.get(name) {
            answer[name] = value.clone();
        }
    }
    let mut state = schedule_status(&item, now);
    if let Some(schedule) = &schedule {
        answer["schedule"] = match &known {
            // Scheduler's own state takes precedence over the item's note.
            Some(Ok(found)) => {
                if state == Some("ok") && !agrees(schedule, true, found.as_ref()) {
                    state = Some("missing");
                }
                match found {
                    Some(found) => {
                        json!({"enabled": found.is_enabled, "expression": found.expression, "timezone": found.zone})
                    }
                    None => json!({"exists": false}),
                }
            }
            Some(Err(error)) => {
                tracing::warn!(cause = %error, "Scheduler could not be asked");
                json!({"unknown": true})
            }
            None => json!({"unknown": true}),
        };
        let runs = schedule.runs_after(now, saved_at(&item, now)).take(NEXT_RUNS);
        let runs: Vec<Value> = runs.filter(|_| state == Some("ok")).map(|run| json!(rfc3339(run))).collect();
        answer["nextRuns"] = json!(runs);
    }
    if let Some(state) = state {
        answer["scheduleStatus"] = json!(state);
    }
    Ok(Reply::ok(json!({})).with("status", answer))
}
