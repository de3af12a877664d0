//! The causes that the control plane logs and does not tell. Its callers are strangers to the table; whoever runs it in
//! this process has the credentials for it, and needs the cause to mend it.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Begins to keep causes. A second call does nothing.
pub(crate) fn keep() {
    let _ = tracing_subscriber::registry().with(LevelFilter::ERROR).with(Causes).try_init();
}

/// Forgets the cause of an earlier request.
pub(crate) fn forget() {
    *kept() = None;
}

/// Returns the last cause since [`forget`].
pub(crate) fn last() -> Option<String> {
    kept().clone()
}

/// Locks the kept cause, which is the newest one, or `None` since [`forget`]. It blocks while another holds the lock.
fn kept() -> MutexGuard<'static, Option<String>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Causes;

impl<S: Subscriber> Layer<S> for Causes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            event.record(&mut Cause);
        }
    }
}

/// Keeps the field `cause` of an event.
struct Cause;

impl Visit for Cause {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "cause" {
            *kept() = Some(format!("{value:?}"));
        }
    }
}
