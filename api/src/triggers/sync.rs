//! Makes Scheduler agree with a trigger's item. It is always built from the item, because an update replaces
//! everything.
//!
//! The item's `scheduleVersion` tells the state of Scheduler. If it is absent, this API has made no schedule, or has
//! deleted it. If it is 0, one may exist. Otherwise it is the version of the item that Scheduler has. It is there from
//! before the first request to Scheduler until after the last, and older than the item while a change is on its way, so
//! a crash leaves a trace.

use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    clients::scheduler::{Definition, Known, SchedulerError},
    error::ApiError,
    schedules::schedule::Schedule,
    store::{
        Changes, Write,
        triggers::{Target, has_webhook, is_tombstone},
    },
    times,
    triggers::{
        draft::kind_of,
        view::{is_enabled, is_synced, schedule_of},
    },
};

/// The number of times that the item may change under a request before it gives up.
const MAX_ROUNDS: usize = 5;
/// How long a tombstone is kept, in seconds.
const TOMBSTONE_SECONDS: i64 = 30 * 24 * 60 * 60;

/// Returns the event that a schedule sends. It has ids alone, so that no prompt is stored in Scheduler, and none can be
/// out of date.
pub fn input_of(trigger_id: &str, user_id: &str) -> String {
    json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {"triggerId": trigger_id, "userId": user_id,
        "stored": true, "scheduledTime": "<aws.scheduler.scheduled-time>"}})
    .to_string()
}

/// Returns the version of an item as a number, 0 if it has none.
pub fn version_of(item: &Map<String, Value>) -> u64 {
    item.get("version").and_then(Value::as_u64).unwrap_or_default()
}

/// Makes Scheduler agree with `item`, notes this in the item, and returns the item as it is then. If another request
/// changes the item meanwhile, Scheduler may be older than the item, so it is made to agree again. A schedule that
/// fires no more, and one that is left of a tombstone or an event, is deleted.
///
/// # Errors
/// Returns an error if Scheduler or the table does not do it, `NotFound` if the item is gone, and `Unavailable` if it
/// changes in five rounds. Then nothing is noted, unless the table took the note all the same.
pub async fn sync(
    api: &Api,
    user_id: &str,
    trigger_id: &str,
    item: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let mut item = item;
    for _ in 0..MAX_ROUNDS {
        let schedule = schedule_of(&item).filter(|_| !is_tombstone(&item));
        let now = times::now();
        if let Some(group) = foreign_group(&item, api.scheduler.group()) {
            // Left alone, it would fire beside the new one, and each fire of the two would run.
            api.scheduler.delete_in(group, trigger_id).await?;
        }
        let changes = match schedule {
            Some(schedule) if schedule.runs_after(now, now).next().is_some() => {
                let is_enabled = is_enabled(&item);
                let version = version_of(&item);
                let input = input_of(trigger_id, user_id);
                let definition = Definition { trigger_id, version, schedule: &schedule, is_enabled, input };
                let arn = write(api, &definition, item.get("scheduleVersion")).await?;
                Changes::default()
                    .set("scheduleVersion", &json!(version))
                    .set("scheduleSavedAt", &json!(times::rfc3339(now)))
                    .set_member("scheduleConfig", "schedulerArn", &json!(arn))
                    .set_member("scheduleConfig", "scheduleGroupName", &json!(api.scheduler.group()))
            }
            // A schedule that fires no more is nothing that Scheduler takes.
            Some(_) => {
                api.scheduler.delete(trigger_id).await?;
                Changes::default().set("scheduleVersion", &json!(version_of(&item)))
            }
            None => {
                api.scheduler.delete(trigger_id).await?;
                let gone = Changes::default();
                let gone = gone.remove("scheduleVersion").remove("scheduleSavedAt").remove("scheduleConfig");
                if is_tombstone(&item) && !has_webhook(&item) { gone.set("ttl", &json!(tombstone_ttl())) } else { gone }
            }
        };
        let version = item.get("version").cloned().unwrap_or_default();
        match api.items.change_trigger(user_id, trigger_id, &version, Target::TriggerOrTombstone, changes).await? {
            Write::Done(after) => return Ok(after),
            Write::Refused(Some(newer)) => item = newer,
            Write::Refused(None) => {
                // Somebody who may write the table has removed the item. Nothing would show its schedule.
                api.scheduler.delete(trigger_id).await?;
                return Err(ApiError::NotFound);
            }
        }
    }
    Err(ApiError::Unavailable("the trigger is changed by somebody else all the time; try again".to_owned()))
}

/// Returns the ttl of a tombstone, in seconds since 1970: 30 days from now, longer than any queue keeps a fire. One
/// whose schedule or secret is not deleted yet has none, because nobody would see what is left after it.
pub fn tombstone_ttl() -> i64 {
    times::now().as_second() + TOMBSTONE_SECONDS
}

/// Does as [`sync`] for an item that was just written. Its error has the item's version: a client that sends the same
/// again has not been overtaken by anybody.
///
/// # Errors
/// Returns [`ApiError::Saved`] if Scheduler or the table does not do it, and `NotFound` if the item is gone.
pub async fn sync_saved(
    api: &Api,
    user_id: &str,
    trigger_id: &str,
    item: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let version = version_of(&item);
    sync(api, user_id, trigger_id, item).await.map_err(|cause| match cause {
        ApiError::NotFound => cause,
        cause => ApiError::Saved { trigger_id: trigger_id.to_owned(), version, cause: Box::new(cause) },
    })
}

/// Returns true if Scheduler may have another schedule than the item says, none yet, or one too many.
pub fn needs_sync(item: &Map<String, Value>) -> bool {
    let is_schedule = kind_of(item) == Some("schedule");
    if item.contains_key("scheduleVersion") { !is_schedule || !is_synced(item) } else { is_schedule }
}

/// Returns true if Scheduler has another schedule than the item notes: somebody may have deleted or changed it there.
/// It is not simply written again, because a rate would count anew. Returns false if Scheduler cannot be asked, and for
/// a schedule that fires no more.
pub async fn is_lost(api: &Api, id: &str, item: &Map<String, Value>) -> bool {
    let now = times::now();
    // One that fires no more is not there.
    let schedule = schedule_of(item).filter(|schedule| schedule.runs_after(now, now).next().is_some());
    let Some(schedule) = schedule else { return false };
    match api.scheduler.get(id).await {
        Ok(known) => !agrees(&schedule, is_enabled(item), known.as_ref()),
        Err(error) => {
            // What was asked is done. The state says what is wrong, once Scheduler answers.
            tracing::warn!(cause = %error, "Scheduler could not be asked");
            false
        }
    }
}

/// Returns true if what Scheduler has is this schedule, with this state: the same expression and zone.
pub fn agrees(schedule: &Schedule, is_enabled: bool, known: Option<&Known>) -> bool {
    known.is_some_and(|known| {
        known.is_enabled == is_enabled
            && known.expression == schedule.expression.canonical()
            && known.zone == schedule.zone_name
    })
}

/// Returns the group of a schedule that another API has made, or `None` if the item names none or the group is the
/// `own` one.
pub fn foreign_group<'a>(item: &'a Map<String, Value>, own: &str) -> Option<&'a str> {
    let config = item.get("scheduleConfig")?;
    let is_made = config.get("schedulerArn").is_some_and(Value::is_string);
    config.get("scheduleGroupName")?.as_str().filter(|group| is_made && *group != own)
}

/// Creates or replaces a schedule, whichever is needed, and returns its ARN. `known` is the item's `scheduleVersion`.
/// If Scheduler has it or has it not against expectation, the other way is tried.
///
/// # Errors
/// Returns an error if Scheduler does not do it.
async fn write(api: &Api, definition: &Definition<'_>, known: Option<&Value>) -> Result<String, SchedulerError> {
    let mut exists = known.is_some_and(|version| *version != json!(0));
    let mut result = Err(SchedulerError::NotFound);
    // A schedule that should exist may be gone. A new one may be there already, if an answer was lost.
    for _ in 0..3 {
        result = if exists { api.scheduler.update(definition).await } else { api.scheduler.create(definition).await };
        match &result {
            Err(SchedulerError::NotFound) if exists => exists = false,
            Err(SchedulerError::Conflict) if !exists => exists = true,
            _ => return result,
        }
    }
    result
}

/// Switches a schedule on in Scheduler before its item is. The version is not noted in the item, because the next write
/// changes it. A schedule that fires no more, or that Scheduler does not have, is left alone.
///
/// # Errors
/// Returns an error if Scheduler does not do it.
pub async fn write_enabled(
    api: &Api,
    user_id: &str,
    trigger_id: &str,
    item: &Map<String, Value>,
) -> Result<(), ApiError> {
    let now = times::now();
    let schedule = schedule_of(item).filter(|schedule| schedule.runs_after(now, now).next().is_some());
    let Some(schedule) = schedule else { return Ok(()) };
    let (version, input) = (version_of(item), input_of(trigger_id, user_id));
    let definition = Definition { trigger_id, version, schedule: &schedule, is_enabled: true, input };
    match api.scheduler.update(&definition).await {
        Ok(_) | Err(SchedulerError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
