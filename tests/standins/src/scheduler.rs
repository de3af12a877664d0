//! The stand-in for EventBridge Scheduler: schedules of one group, with the real names, shapes and errors. It fires them
//! when a test says so, or by a clock.
//! <https://docs.aws.amazon.com/scheduler/latest/APIReference/Welcome.html>

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::faults::{Fault, Injected, Rule, Rules, play};
use crate::lambda_api::LambdaApi;
use crate::net::{ANY_PORT, Server, drop_connection};
use crate::runtime_api::Invocation;

/// The only schedule group besides `default`.
pub const SCHEDULE_GROUP: &str = "standin-schedules";
/// The role that schedules name.
pub const SCHEDULER_ROLE: &str = "arn:aws:iam::123456789012:role/standin-scheduler";
const SCHEDULED_TIME: &str = "<aws.scheduler.scheduled-time>";
/// How often the clock looks for schedules that are due.
const TICK: Duration = Duration::from_millis(50);

/// A function that returns the next time at which a schedule fires after another one, both in milliseconds since 1970. The
/// schedule is the body of its last write, with that write's own time in `SavedAt`: a rate counts from it.
pub type NextRun = Arc<dyn Fn(&Value, i64) -> Option<i64> + Send + Sync>;

#[derive(Default)]
struct Book {
    schedules: BTreeMap<String, Value>,
    /// The creations by their client tokens.
    tokens: HashMap<String, Value>,
    requests: Vec<(String, Value)>,
    /// A text that no expression may contain.
    refused: Option<String>,
}

struct Inner {
    book: Mutex<Book>,
    rules: Rules,
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stand-in for Scheduler.
pub struct Scheduler {
    inner: Arc<Inner>,
    server: Server,
    clock: Option<AbortHandle>,
}

impl Scheduler {
    /// Starts without any schedule.
    ///
    /// # Errors
    /// If loopback has no free port.
    pub async fn start() -> io::Result<Self> {
        Self::bind(ANY_PORT).await
    }

    /// Starts on `addr`.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let inner = Arc::new(Inner { book: Mutex::default(), rules: Rules::default() });
        let route = get(answer).post(answer).put(answer).delete(answer);
        let router = Router::new().route("/schedules/{name}", route).with_state(Arc::clone(&inner));
        Ok(Self { inner, server: Server::start_http(addr, router).await?, clock: None })
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Adds a rule (operations `CreateSchedule`, `UpdateSchedule`, `DeleteSchedule`, `GetSchedule`).
    pub fn inject(&self, rule: Rule) -> Injected {
        self.inner.rules.inject(rule)
    }

    /// Refuses every expression that contains this text, as Scheduler may refuse what others think to be valid.
    pub fn refuse(&self, text: &str) {
        self.inner.book().refused = Some(text.to_owned());
    }

    /// Removes every rule.
    pub fn clear_faults(&self) {
        self.inner.rules.clear();
    }

    /// Returns the names of all schedules.
    pub fn names(&self) -> Vec<String> {
        self.inner.book().schedules.keys().cloned().collect()
    }

    /// Returns a schedule as its last write said it.
    pub fn schedule(&self, name: &str) -> Option<Value> {
        self.inner.book().schedules.get(name).cloned()
    }

    /// Puts a schedule of another API into the group `default`. Its name is shown as `default/{name}`.
    pub fn put_foreign(&self, name: &str, schedule: Value) {
        self.inner.book().schedules.insert(format!("default/{name}"), schedule);
    }

    /// Makes a schedule one that was saved this long before it was.
    pub fn age(&self, name: &str, by: Duration) {
        if let Some(schedule) = self.inner.book().schedules.get_mut(name) {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            schedule["SavedAt"] = json!(schedule["SavedAt"].as_i64().unwrap_or_default() - by);
        }
    }

    /// Deletes a schedule, as one that fires once does after it has fired.
    pub fn forget(&self, name: &str) {
        self.inner.book().schedules.remove(name);
    }

    /// Returns the requests so far: their operations and their bodies.
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.inner.book().requests.clone()
    }

    /// Returns how many requests of an operation came.
    pub fn count(&self, operation: &str) -> usize {
        self.inner.book().requests.iter().filter(|(name, _)| name == operation).count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.inner.book().requests.clear();
    }

    /// Fires a schedule for this time, RFC 3339, if it is there and enabled. Returns the request id of the invocation.
    pub fn fire(&self, name: &str, time: &str, lambda: &LambdaApi) -> Option<String> {
        let schedule = self.schedule(name).filter(|schedule| schedule["State"] != "DISABLED")?;
        Some(fire(&schedule, time, lambda))
    }

    /// Fires enabled schedules when `next` says that they are due. One with `ActionAfterCompletion` DELETE is deleted when
    /// it fires no more.
    pub fn run(&mut self, lambda: LambdaApi, next: NextRun) {
        let inner = Arc::clone(&self.inner);
        let clock = tokio::spawn(async move {
            let mut before = now_millis();
            loop {
                tokio::time::sleep(TICK).await;
                let now = now_millis();
                let schedules: Vec<_> = inner.book().schedules.clone().into_iter().collect();
                for (name, schedule) in schedules {
                    let mut after = before;
                    while let Some(due) = next(&schedule, after).filter(|due| *due <= now) {
                        if schedule["State"] != "DISABLED" {
                            fire(&schedule, &rfc3339(due), &lambda);
                        }
                        after = due;
                    }
                    if schedule["ActionAfterCompletion"] == "DELETE" && next(&schedule, now).is_none() {
                        inner.book().schedules.remove(&name);
                    }
                }
                before = now;
            }
        });
        self.clock = Some(clock.abort_handle());
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some(clock) = &self.clock {
            clock.abort();
        }
    }
}

fn fire(schedule: &Value, time: &str, lambda: &LambdaApi) -> String {
    let input = schedule["Target"]["Input"].as_str().unwrap_or("{}").replace(SCHEDULED_TIME, time);
    // A function has one time-out, whoever invokes it.
    lambda.submit(Invocation::new(input.into_bytes()).timeout(lambda.time_of_an_event()))
}

fn now_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a time of whole seconds, as Scheduler spells it.
fn rfc3339(millis: i64) -> String {
    let (days, seconds) = ((millis / 1000).div_euclid(86_400), (millis / 1000).rem_euclid(86_400));
    // The calendar's arithmetic: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let operation = match method {
        Method::POST => "CreateSchedule",
        Method::PUT => "UpdateSchedule",
        Method::DELETE => "DeleteSchedule",
        _ => "GetSchedule",
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    inner.book().requests.push((operation.to_owned(), body.clone()));
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let fault = inner.rules.befalls(operation, &format!("{name} {body}"));
    // In a task of its own: what the client has given up on is still done, as it would be behind a real network.
    let schedule = name.clone();
    let played = tokio::spawn(async move {
        let apply = async {
            if !authorization.starts_with("AWS4-") || !authorization.contains("/scheduler/aws4_request") {
                return error(403, "AccessDeniedException", "Missing Authentication Token");
            }
            serve(&inner, operation, &name, &query, body)
        };
        play(fault, apply, |fault| refuse(fault, &schedule)).await
    });
    played.await.unwrap_or_else(|_| drop_connection())
}

fn serve(inner: &Inner, operation: &str, name: &str, query: &HashMap<String, String>, body: Value) -> Response {
    let in_body = matches!(operation, "CreateSchedule" | "UpdateSchedule");
    let group = if in_body { body["GroupName"].as_str().map(str::to_owned) } else { query.get("groupName").cloned() };
    let group = group.unwrap_or_else(|| "default".to_owned());
    if group == "default" && operation == "DeleteSchedule" {
        // Another API's schedules are there, under the same names.
        let mut book = inner.book();
        return match book.schedules.remove(&format!("default/{name}")) {
            Some(_) => json_answer(&json!({})),
            None => error(404, "ResourceNotFoundException", &format!("Schedule {name} does not exist.")),
        };
    }
    if group != SCHEDULE_GROUP {
        return error(404, "ResourceNotFoundException", &format!("Schedule group {group} does not exist."));
    }
    if in_body && let Err(problem) = check(name, &body) {
        return error(400, "ValidationException", &problem);
    }
    let expression = body["ScheduleExpression"].as_str().unwrap_or_default();
    if inner.book().refused.as_ref().is_some_and(|refused| expression.contains(refused)) {
        return error(400, "ValidationException", &format!("Invalid Schedule Expression {expression}."));
    }
    let arn = json!({"ScheduleArn": format!("arn:aws:scheduler:us-east-1:123456789012:schedule/{group}/{name}")});
    let missing = || error(404, "ResourceNotFoundException", &format!("Schedule {name} does not exist."));
    let mut book = inner.book();
    match operation {
        "CreateSchedule" => {
            let token = body["ClientToken"].as_str().unwrap_or_default().to_owned();
            if book.schedules.contains_key(name) {
                // The same request once more is answered as the first time.
                if book.tokens.get(&token) == Some(&body) {
                    return json_answer(&arn);
                }
                return error(409, "ConflictException", &format!("Schedule {name} already exists."));
            }
            book.tokens.insert(token, body.clone());
            book.schedules.insert(name.to_owned(), saved(body));
            json_answer(&arn)
        }
        "UpdateSchedule" => match book.schedules.get_mut(name) {
            Some(schedule) => {
                *schedule = saved(body);
                json_answer(&arn)
            }
            None => missing(),
        },
        "DeleteSchedule" => match book.schedules.remove(name) {
            Some(_) => json_answer(&json!({})),
            None => missing(),
        },
        _ => match book.schedules.get(name) {
            Some(schedule) => {
                let mut found = schedule.clone();
                found["Arn"] = arn["ScheduleArn"].clone();
                found["Name"] = json!(name);
                json_answer(&found)
            }
            None => missing(),
        },
    }
}

/// Returns what is stored: the body of a write with its time.
fn saved(mut body: Value) -> Value {
    body["SavedAt"] = json!(now_millis());
    body
}

/// Checks what Scheduler checks first: the names, the required members, the outer form of the expression, and that the
/// schedule has not ended.
fn check(name: &str, body: &Value) -> Result<(), String> {
    let is_name = |text: &str| {
        (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if !is_name(name) {
        return Err(format!(
            "Value '{name}' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern"
        ));
    }
    for (member, is_there) in [
        ("ScheduleExpression", body["ScheduleExpression"].is_string()),
        ("FlexibleTimeWindow", body["FlexibleTimeWindow"]["Mode"].is_string()),
        ("Target", body["Target"]["Arn"].is_string() && body["Target"]["RoleArn"].is_string()),
    ] {
        if !is_there {
            return Err(format!("Member {member} must not be null"));
        }
    }
    let window = &body["FlexibleTimeWindow"];
    let minutes = window["MaximumWindowInMinutes"].as_u64();
    if (window["Mode"] == "FLEXIBLE") != minutes.is_some_and(|minutes| (1..=1440).contains(&minutes)) {
        return Err("Invalid FlexibleTimeWindow".to_owned());
    }
    let expression = body["ScheduleExpression"].as_str().unwrap_or_default();
    let inside = |kind: &str| expression.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
    let is_valid = if let Some(fields) = inside("cron") {
        let fields: Vec<_> = fields.split(' ').collect();
        fields.len() == 6 && (fields[2] == "?") != (fields[4] == "?") && !fields.iter().any(|field| field.is_empty())
    } else if let Some(rate) = inside("rate") {
        let units = ["minute", "minutes", "hour", "hours", "day", "days"];
        rate.split_once(' ').is_some_and(|(n, unit)| n.parse::<u32>().is_ok_and(|n| n > 0) && units.contains(&unit))
    } else {
        inside("at").is_some_and(|time| time.len() == 19 && time.as_bytes()[10] == b'T')
    };
    if !is_valid {
        return Err(format!("Invalid Schedule Expression {expression}."));
    }
    let now = now_millis();
    if body["EndDate"].as_f64().is_some_and(|end| end * 1000.0 <= now as f64) {
        return Err("The EndDate you specify must be in the future.".to_owned());
    }
    // No zone's clocks are more than 12 hours behind UTC, so this time has passed in each.
    let long_ago = rfc3339(now - 12 * 60 * 60 * 1000);
    if inside("at").is_some_and(|time| time < long_ago.trim_end_matches('Z')) {
        return Err(format!("Invalid Schedule Expression {expression}: it has passed."));
    }
    Ok(())
}

fn refuse(fault: &Fault, name: &str) -> Response {
    let arn = format!("arn:aws:scheduler:us-east-1:123456789012:schedule/{SCHEDULE_GROUP}/{name}");
    let denied = format!("not authorized to perform: scheduler:CreateSchedule on resource: {arn}");
    match fault {
        Fault::Throttle => error(429, "ThrottlingException", "Rate exceeded"),
        Fault::Deny => error(403, "AccessDeniedException", &denied),
        Fault::NotFound => error(404, "ResourceNotFoundException", &format!("Schedule {name} does not exist.")),
        Fault::Conflict => error(409, "ConflictException", &format!("Schedule {name} already exists.")),
        _ => error(500, "InternalServerException", "Unexpected error encountered while processing your request."),
    }
}

fn json_answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

fn error(status: u16, name: &'static str, message: &str) -> Response {
    let headers = [("content-type", "application/json"), ("x-amzn-errortype", name)];
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, json!({"Message": message}).to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelt_as_scheduler_does() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_769_842_800_000), "2026-01-31T07:00:00Z");
        assert_eq!(rfc3339(1_835_395_199_000), "2028-02-28T23:59:59Z");
        assert_eq!(rfc3339(1_835_395_200_000), "2028-02-29T00:00:00Z");
    }

    #[tokio::test]
    async fn a_fire_has_the_time_of_every_event() {
        let lambda = LambdaApi::start().await;
        lambda.timeout(Duration::from_secs(900));
        fire(&json!({"Target": {"Input": "{}"}}), "2026-01-31T07:00:00Z", &lambda);
        assert_eq!(lambda.queue().next().await.1.timeout, Duration::from_secs(900));
    }
}
