//! The place of executions and triggers: a control plane's address, or a table.

use std::collections::HashSet;

use http::Method;
use serde_json::{Value, json};

use crate::execution::{Execution, fired_at_beginning};
use crate::needs::Needs;
use crate::options::{PlaceOptions, Which};
use crate::requests::{Requests, segment};
use crate::source::{EnvFile, Source};
use crate::table::{Named, Newest, Table, WHOLE_ID};
use crate::words;

/// The most executions of a page.
const PAGE: usize = 100;
/// The most executions among which a part of an id is looked for.
const MOST_SEARCHED: usize = 2_000;
/// The most pages in which it is looked for: a page may have no executions at all.
const MOST_PAGES: u32 = 200;

/// The place of executions and triggers.
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
    /// Everything that is missing or malformed, or that requests there do not act for `--user`.
    pub(crate) async fn find(options: &PlaceOptions) -> Result<Self, String> {
        // clap sees only a conflict of options that stand on the same side of the command.
        if options.api.is_some() && options.table.is_some() {
            return Err("--api cannot be used with --table".to_owned());
        }
        let user = options.user.as_deref();
        let address = options.api.clone().or_else(|| set("AGENT_TRIGGER_API").filter(|_| options.table.is_none()));
        if let Some(address) = address {
            let requests = Requests::to(&address, set("AGENT_TRIGGER_TOKEN"), user)?;
            if let Some(user) = user {
                requests.acts_for(user).await?;
            }
            return Ok(Self::Api { requests, address });
        }
        let source = Source::find(options.table.as_deref(), set, EnvFile::find);
        let table = Table::open(source.map_err(|problems| problems.join("; "))?).await?;
        if let (Some(user), Some(file)) = (user, table.env_file()) {
            local_run(file)?.acts_for(user).await?;
        }
        Ok(Self::Table(Box::new(table)))
    }

    /// Describes the place for a reader.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Table(table) => format!("Table {}", table.described()),
            Self::Api { address, .. } => format!("Control plane {address}"),
        }
    }

    /// Returns the newest executions that `which` wants. `read` is told how much was read so far, if that takes a
    /// while.
    ///
    /// # Errors
    /// A message that says what went wrong and what to do about it.
    pub(crate) async fn newest(&self, which: &Which, read: impl Fn(usize)) -> Result<Newest, String> {
        let now = words::now();
        match (self, &which.trigger) {
            (Self::Table(table), Some(trigger)) => table.of_trigger(trigger, which, now).await,
            (Self::Table(table), None) => table.of_all(which, now, read).await,
            (Self::Api { requests, .. }, _) => listed(requests, which, now).await,
        }
    }

    /// Returns the executions whose id is `id`, or begins or ends with it. If it is only one, it is returned in full.
    ///
    /// # Errors
    /// A message that says what went wrong and what to do about it.
    pub(crate) async fn named(&self, trigger: Option<&str>, id: &str, read: impl Fn(usize)) -> Result<Named, String> {
        let now = words::now();
        match self {
            Self::Table(table) => table.named(trigger, id, now, read).await,
            Self::Api { requests, .. } => match trigger.filter(|_| id.len() == WHOLE_ID) {
                Some(trigger) => {
                    let mut named = Named { pages: 1, ..Named::default() };
                    full(requests, trigger, id, now).await?.into_iter().for_each(|execution| named.add(execution));
                    Ok(named)
                }
                None => searched(requests, trigger, id, now).await,
            },
        }
    }

    /// Returns the way to the control plane. With a table, `source` is an event source that counts as known unless
    /// `EVENT_SOURCES` says which are: who may write the table may name any.
    ///
    /// # Errors
    /// Names every setting that is missing.
    pub(crate) fn requests(self, needs: Needs, source: Option<&str>) -> Result<Requests, String> {
        match self {
            Self::Api { requests, .. } => Ok(requests),
            Self::Table(table) => {
                if let Some(file) = table.env_file() {
                    return local_run(file);
                }
                let own = source.map(|source| json!([{"id": source}]).to_string());
                let set = |name: &str| set(name).or_else(|| own.clone().filter(|_| name == "EVENT_SOURCES"));
                Requests::here(table.config(), table.name(), needs, set)
            }
        }
    }

    /// Returns true for a table of which the user of a trigger must be known.
    pub(crate) fn has_many_users(&self) -> bool {
        matches!(self, Self::Table(table) if !table.is_local_run())
    }
}

/// Returns the way to the control plane of the local run.
fn local_run(file: &EnvFile) -> Result<Requests, String> {
    let address = file.line("AGENT_TRIGGER_API").ok_or("the local run serves no control plane: start it again")?;
    Requests::to(address, file.line("AGENT_TRIGGER_TOKEN").map(str::to_owned), None)
}

/// Looks up a variable of the environment. An empty one is none.
pub(crate) fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Reads an execution as a control plane shows it, without what it adds to the record for its page.
fn execution(shown: &Value, now: i64) -> Option<Execution> {
    let mut row = shown.as_object()?.clone();
    row.remove("canCancel");
    row.remove("canReplay");
    // The rows of older functions have these two themselves.
    if row.contains_key("startedAt") {
        row.remove("executedAt");
    }
    if row.contains_key("status") {
        row.remove("errorMessage");
    }
    Execution::new(row, now)
}

/// Reads an execution in full, if it is there.
async fn full(requests: &Requests, trigger: &str, id: &str, now: i64) -> Result<Option<Execution>, String> {
    let path = format!("/triggers/{}/executions/{}", segment(trigger), segment(id));
    let answer = requests.send(None, Method::GET, &path, None, &[]).await?;
    match answer.status.as_u16() {
        404 => Ok(None),
        _ => Ok(execution(&answer.done()?["execution"], now)),
    }
}

/// The pages of a list of a control plane.
#[derive(Default)]
pub(crate) struct Pages {
    next: Option<String>,
    has_begun: bool,
    /// The tokens of all pages so far.
    seen: HashSet<String>,
    /// How many pages in a row had nothing of use.
    empty: u32,
}

impl Pages {
    /// Returns the token of the next page.
    pub(crate) fn token(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Returns true if there is another page, or a first one.
    pub(crate) fn more(&self) -> bool {
        !self.has_begun || self.next.is_some()
    }

    /// Takes the list `name` out of a page.
    ///
    /// # Errors
    /// If the answer is no such page, or leads to an earlier one.
    pub(crate) fn take(&mut self, mut page: Value, name: &str) -> Result<Vec<Value>, String> {
        let next = page["nextToken"].as_str().filter(|next| !next.is_empty()).map(str::to_owned);
        if next.as_ref().is_some_and(|next| !self.seen.insert(next.clone())) {
            return Err("the control plane answers with the same page again and again".to_owned());
        }
        (self.next, self.has_begun) = (next, true);
        match page[name].take() {
            Value::Array(rows) => Ok(rows),
            _ => Err(format!("the answer has no {name}: is this the address of a control plane?")),
        }
    }

    /// Counts a page with this many rows of use.
    ///
    /// # Errors
    /// If it is the last of many with none, and there are more.
    pub(crate) fn used(&mut self, rows: usize) -> Result<(), String> {
        self.empty = if rows == 0 { self.empty + 1 } else { 0 };
        if self.next.is_some() && self.empty > MOST_PAGES {
            return Err(format!("the control plane answers with {MOST_PAGES} empty pages, and with more to come"));
        }
        Ok(())
    }
}

/// Returns the path of a list of executions.
fn list_path(which: &Which, to: Option<i64>, limit: usize, next: Option<&str>) -> String {
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
    if let Some(to) = to {
        path.push_str(&format!("&to={}", segment(&words::rfc3339(to))));
    }
    if let Some(next) = next {
        path.push_str(&format!("&nextToken={}", segment(next)));
    }
    path
}

/// Reads lists until there are as many executions as wanted, or no more.
async fn listed(requests: &Requests, which: &Which, now: i64) -> Result<Newest, String> {
    let mut newest = Newest::default();
    let mut pages = Pages::default();
    loop {
        let missing = (which.limit + 1).saturating_sub(newest.executions.len()).min(PAGE);
        let page = requests.done(None, Method::GET, &list_path(which, None, missing, pages.token()), None).await?;
        newest.pages += 1;
        let rows = pages.take(page, "executions")?;
        newest.items += rows.len();
        let found: Vec<_> = rows.iter().filter_map(|row| execution(row, now)).collect();
        // What is no execution, or has expired, brings the end no nearer.
        pages.used(found.len())?;
        newest.executions.extend(found);
        if !pages.more() || newest.executions.len() > which.limit {
            newest.more = pages.more();
            newest.cut(which.limit);
            return Ok(newest);
        }
    }
}

/// Looks for a part of an id among the newest executions. If only one is found, it is read in full.
async fn searched(requests: &Requests, trigger: Option<&str>, id: &str, now: i64) -> Result<Named, String> {
    let mut which = Which { trigger: trigger.map(str::to_owned), ..Which::default() };
    // The beginning of an id holds the time of its fire.
    let fired = fired_at_beginning(id);
    which.since = fired.map(|fired| fired - 1_000);
    let to = fired.map(|fired| fired + 1_000);
    let (mut pages, mut named, mut searched) = (Pages::default(), Named::default(), 0);
    while pages.more() {
        if searched >= MOST_SEARCHED || named.pages >= MOST_PAGES {
            named.cut_short_at = Some(searched);
            break;
        }
        let page = requests.done(None, Method::GET, &list_path(&which, to, PAGE, pages.token()), None).await?;
        named.pages += 1;
        let rows = pages.take(page, "executions")?;
        searched += rows.len();
        let rows = rows.iter().filter_map(|row| execution(row, now));
        rows.filter(|execution| execution.is_named(id)).for_each(|execution| named.add(execution));
        if id.len() == WHOLE_ID && named.count > 0 {
            break;
        }
    }
    if let ([listed], 1) = (named.executions.as_slice(), named.count) {
        named.executions = full(requests, listed.trigger(), listed.id(), now).await?.into_iter().collect();
        named.count = named.executions.len();
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_never_ends_and_what_is_no_list_are_refused() {
        let mut pages = Pages::default();
        assert!(pages.more());
        let page = |next: &str| json!({"executions": [1], "nextToken": next});
        assert_eq!(pages.take(page("a"), "executions").unwrap(), [json!(1)]);
        assert_eq!(pages.take(page("b"), "executions").unwrap(), [json!(1)]);
        assert!(pages.take(page("a"), "executions").unwrap_err().contains("again"));
        assert!(pages.take(page("b"), "executions").unwrap_err().contains("again"));
        assert!(pages.take(json!({}), "executions").unwrap_err().contains("no executions"));
        pages.take(json!({"executions": []}), "executions").unwrap();
        assert!(!pages.more());
        let empty = |at: u32| json!({"executions": [], "nextToken": at.to_string()});
        let mut pages = Pages::default();
        for at in 0..=MOST_PAGES {
            pages.take(empty(at), "executions").unwrap();
            assert_eq!(pages.used(0).is_ok(), at < MOST_PAGES, "{at}");
        }
        pages.used(1).unwrap();
        pages.used(0).unwrap();
    }

    #[test]
    fn the_record_is_shown_without_what_the_page_needs() {
        let shown = json!({"executionId": "1", "status": "failed", "startedAt": "x", "executedAt": "x", "canCancel": false,
            "canReplay": true, "errorMessage": "failed"});
        let row = Value::from(execution(&shown, 0).unwrap().row);
        assert_eq!(row, json!({"executionId": "1", "startedAt": "x", "status": "failed"}));
        let older = json!({"executedAt": "x", "errorMessage": "no"});
        assert_eq!(Value::from(execution(&older, 0).unwrap().row), older);
    }
}
