//! The pipe from the table's stream to an event bus.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::AbortHandle;

use crate::bus::bus_event;
use crate::changes::{Changes, STREAM_ARN};
use crate::destination::timestamp;
use crate::dynamodb::DynamoDb;
use crate::input_template::{PipeVariables, lookup, render};

/// A pipe's definition, as [`crate::Template::pipe`] reads it.
#[derive(Clone, Debug, Default)]
pub struct PipeDefinition {
    /// The event patterns of its filter criteria. A record passes if one of them matches, or if there are none.
    pub filters: Vec<Value>,
    /// The template that turns a record into the detail of an event. Without one the detail is the record.
    pub input_template: Option<String>,
    /// The source of its events.
    pub source: String,
    /// The detail-type of its events.
    pub detail_type: String,
    /// The path to the time of its events (`$.…`). Without one it is the moment of sending.
    pub time: Option<String>,
    /// True if every change is sent twice, each time as a separate event, as a pipe does if its first try succeeded
    /// without the pipe learning of it.
    pub twice: bool,
}

impl PipeDefinition {
    /// Combines the filter criteria into one matcher, with a compiler for single patterns.
    pub fn matcher<M: Fn(&Value) -> bool + Send + 'static>(&self, compile: impl Fn(&Value) -> M) -> Matcher {
        let patterns: Vec<M> = self.filters.iter().map(compile).collect();
        Box::new(move |record: &Value| patterns.is_empty() || patterns.iter().any(|matches| matches(record)))
    }

    /// Returns the definition of a pipe that sends every change twice.
    #[must_use]
    pub fn twice(mut self) -> Self {
        self.twice = true;
        self
    }

    /// Returns the event that a record becomes.
    ///
    /// # Errors
    /// Describes what is wrong with the input template or with its result for this record.
    pub fn event(&self, record: &Value) -> Result<Value, String> {
        let variables = PipeVariables {
            pipe_arn: "arn:aws:pipes:us-east-1:123456789012:pipe/standin-pipe".to_owned(),
            pipe_name: "standin-pipe".to_owned(),
            source_arn: STREAM_ARN.to_owned(),
            target_arn: "arn:aws:events:us-east-1:123456789012:event-bus/standin-bus".to_owned(),
            ingestion_time: timestamp(),
        };
        let detail = match &self.input_template {
            None => record.clone(),
            Some(template) => {
                let rendered = render(template, record, &variables)?;
                serde_json::from_str(&rendered).map_err(|e| format!("{e} in {rendered}"))?
            }
        };
        if !detail.is_object() {
            return Err(format!("a detail must be an object, not {detail}"));
        }
        let mut event = bus_event(&self.source, &self.detail_type, detail);
        if let Some(path) = &self.time {
            let time = lookup(path, record)?.filter(|time| time.is_string());
            event["time"] = time.ok_or_else(|| format!("no time at {path}"))?.clone();
        }
        Ok(event)
    }
}

/// A function that decides which records of the stream a pipe passes on.
pub type Matcher = Box<dyn Fn(&Value) -> bool + Send>;
type Sink = Box<dyn Fn(Value) + Send>;

/// A running pipe. Dropping it stops it.
pub struct Pipe {
    works: Arc<Mutex<Works>>,
    task: AbortHandle,
}

struct Works {
    definition: PipeDefinition,
    changes: Changes,
    matches: Matcher,
    sink: Sink,
    events: Vec<Value>,
    failures: Vec<String>,
}

impl Works {
    /// Passes on a page of changes. Returns false if there was none.
    fn step(&mut self) -> bool {
        let records = self.changes.next_page();
        for record in records.iter().filter(|record| (self.matches)(record)) {
            for _ in 0..if self.definition.twice { 2 } else { 1 } {
                match self.definition.event(record) {
                    Ok(event) => {
                        self.events.push(event.clone());
                        (self.sink)(event);
                    }
                    Err(failure) => self.failures.push(failure),
                }
            }
        }
        !records.is_empty()
    }
}

impl Pipe {
    /// Reads the table's changes from the first one on and passes the event of each that `matches` to `sink`, in the
    /// order of the changes. `matches` is the definition's own filter, compiled ([`PipeDefinition::matcher`]).
    pub fn start(
        dynamodb: &DynamoDb,
        definition: PipeDefinition,
        matches: impl Fn(&Value) -> bool + Send + 'static,
        sink: impl Fn(Value) + Send + 'static,
    ) -> Self {
        let works = Arc::new(Mutex::new(Works {
            definition,
            changes: dynamodb.changes(),
            matches: Box::new(matches),
            sink: Box::new(sink),
            events: Vec::new(),
            failures: Vec::new(),
        }));
        let at_work = Arc::clone(&works);
        let task = tokio::spawn(async move {
            loop {
                while lock(&at_work).step() {}
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { works, task: task.abort_handle() }
    }

    /// Passes on every change made so far, and then returns.
    pub fn drain(&self) {
        while lock(&self.works).step() {}
    }

    /// Returns the events sent so far.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.works).events.clone()
    }

    /// Returns the changes that made no event, each by its problem.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.works).failures.clone()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(works: &Mutex<Works>) -> MutexGuard<'_, Works> {
    works.lock().unwrap_or_else(PoisonError::into_inner)
}
