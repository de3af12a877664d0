//! Where executions and triggers are: behind a control plane's address, or in a table.

use http::Method;
use serde_json::{Value, json};

use crate::execution::{Execution, fired_at};
use crate::options::{PlaceOptions, Which};
use crate::requests::{Requests, segment};
use crate::source::{self, Source};
use crate::table::{Newest, Table, WHOLE_ID};
use crate::words;

/// The most executions of a page.
const PAGE: usize = 100;
/// The most pages in which a part of an id is looked for.
const MOST_PAGES: usize = 20;

/// Where to look.
pub(crate) enum Place {
    /// A table, which the caller may read.
    Table(Box<Table>),
    /// A control plane, whose caller is the token's user.
    Api { requests: Requests, address: String },
}

impl Place {
    /// Finds the place by the options, the environment and the local run's file.
    ///
    /// # Errors
    /// Everything that is missing or malformed.
    pub(crate) async fn find(options: &PlaceOptions) -> Result<Self, String> {
        let address = options.api.clone().or_else(|| set("AGENT_TRIGGER_API").filter(|_| options.table.is_none()));
        if let Some(address) = address {
            return Ok(Self::Api { requests: Requests::to(&address, set("AGENT_TRIGGER_TOKEN"))?, address });
        }
        let file = source::env_file();
        let source = Source::find(options.table.as_deref(), set, file.as_deref());
        Ok(Self::Table(Box::new(Table::open(source.map_err(|problems| problems.join("; "))?).await?)))
    }

    /// Describes the place for a reader.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Table(table) => format!("Table {}", table.described()),
            Self::Api { address, .. } => format!("Control plane {address}"),
        }
    }

    /// Returns the newest executions that `which` wants. `read` is told how much was read so far, if that takes a while.
    ///
    /// # Errors
    /// What went wrong and what to do about it.
    pub(crate) async fn newest(&self, which: &Which, read: impl Fn(usize)) -> Result<Newest, String> {
        let now = words::now();
        match (self, &which.trigger) {
            (Self::Table(table), Some(trigger)) => table.of_trigger(trigger, which, now).await,
            (Self::Table(table), None) => table.of_all(which, now, read).await,
            (Self::Api { requests, .. }, _) => listed(requests, which, now).await,
        }
    }

    /// Returns the executions whose id is `id`, or begins or ends with it, in full, and the pages that were read for them.
    ///
    /// # Errors
    /// What went wrong and what to do about it.
    pub(crate) async fn named(
        &self,
        trigger: Option<&str>,
        id: &str,
        read: impl Fn(usize),
    ) -> Result<(Vec<Execution>, u32), String> {
        let now = words::now();
        match self {
            Self::Table(table) => table.named(trigger, id, now, read).await,
            Self::Api { requests, .. } => match trigger.filter(|_| id.len() == WHOLE_ID) {
                Some(trigger) => {
                    let path = format!("/triggers/{}/executions/{}", segment(trigger), segment(id));
                    let answer = requests.send(None, Method::GET, &path, None).await?;
                    match answer.status.as_u16() {
                        404 => Ok((Vec::new(), 1)),
                        200..300 => Ok((execution(&answer.body["execution"], now).into_iter().collect(), 1)),
                        _ => Err(answer.refusal()),
                    }
                }
                None => searched(requests, trigger, id, now).await,
            },
        }
    }

    /// Returns the way to the control plane. `writes` says whether more than the table is needed. With a table, `source` is
    /// an event source that counts as known unless `EVENT_SOURCES` says which are: who may write the table may name any.
    ///
    /// # Errors
    /// Names every setting that is missing.
    pub(crate) async fn requests(self, writes: bool, source: Option<&str>) -> Result<Requests, String> {
        match self {
            Self::Api { requests, .. } => Ok(requests),
            Self::Table(table) if table.is_local_run() => {
                let file = source::env_file().unwrap_or_default();
                let line = |name: &str| source::line(&file, name).map(str::to_owned);
                let address =
                    line("AGENT_TRIGGER_API").ok_or("the local run serves no control plane: start it again")?;
                Requests::to(&address, line("AGENT_TRIGGER_TOKEN"))
            }
            Self::Table(table) => {
                let own = source.map(|source| json!([{"id": source}]).to_string());
                let set = |name: &str| set(name).or_else(|| own.clone().filter(|_| name == "EVENT_SOURCES"));
                Requests::here(table.name(), table.region(), writes, set).await
            }
        }
    }
}

/// Looks up a variable of the environment. An empty one is none.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn execution(shown: &Value, now: i64) -> Option<Execution> {
    Execution::new(shown.as_object()?.clone(), now)
}

/// Returns the path of a list of executions.
fn list_path(which: &Which, limit: usize, next: Option<&str>) -> String {
    let mut path = match &which.trigger {
        Some(trigger) => format!("/triggers/{}/executions?limit={limit}", segment(trigger)),
        None => format!("/executions?limit={limit}"),
    };
    if !which.status.is_empty() {
        path.push_str(&format!("&status={}", which.status.join(",")));
    }
    if let Some(since) = which.since {
        path.push_str(&format!("&from={}", segment(&words::rfc3339(since))));
    }
    if let Some(next) = next {
        path.push_str(&format!("&nextToken={}", segment(next)));
    }
    path
}

/// Reads lists until there are as many executions as wanted, or no more.
async fn listed(requests: &Requests, which: &Which, now: i64) -> Result<Newest, String> {
    let mut newest = Newest::default();
    let mut next: Option<String> = None;
    loop {
        let missing = (which.limit + 1).saturating_sub(newest.executions.len()).min(PAGE);
        let page = requests.done(None, Method::GET, &list_path(which, missing, next.as_deref()), None).await?;
        newest.pages += 1;
        let rows = page["executions"].as_array().cloned().unwrap_or_default();
        newest.items += rows.len();
        newest.executions.extend(rows.iter().filter_map(|row| execution(row, now)));
        next = page["nextToken"].as_str().map(str::to_owned);
        if next.is_none() || newest.executions.len() > which.limit {
            newest.more = next.is_some();
            newest.cut(which.limit);
            return Ok(newest);
        }
    }
}

/// Looks for a part of an id among the newest executions, and reads those found in full.
async fn searched(
    requests: &Requests,
    trigger: Option<&str>,
    id: &str,
    now: i64,
) -> Result<(Vec<Execution>, u32), String> {
    let mut which = Which { trigger: trigger.map(str::to_owned), ..Which::default() };
    // A whole id holds the time of its fire.
    which.since = fired_at(id).filter(|_| id.len() == WHOLE_ID).map(|fired| fired - 1_000);
    let (mut pages, mut next, mut found) = (0, None::<String>, Vec::new());
    for _ in 0..MOST_PAGES {
        let page = requests.done(None, Method::GET, &list_path(&which, PAGE, next.as_deref()), None).await?;
        pages += 1;
        let rows = page["executions"].as_array().cloned().unwrap_or_default();
        found.extend(rows.iter().filter_map(|row| execution(row, now)).filter(|execution| execution.is_named(id)));
        next = page["nextToken"].as_str().map(str::to_owned);
        if next.is_none() || id.len() == WHOLE_ID && !found.is_empty() {
            break;
        }
    }
    let mut full = Vec::new();
    for listed in found {
        let path = format!("/triggers/{}/executions/{}", segment(listed.trigger()), segment(listed.id()));
        let shown = requests.done(None, Method::GET, &path, None).await?;
        full.extend(execution(&shown["execution"], now));
    }
    Ok((full, pages))
}
