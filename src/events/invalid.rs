//! The one error that names everything wrong with an event.

use crate::domain::{
    failure::{ErrorType, Failure},
    fire::Fire,
    ids::TriggerId,
};

/// Everything that is wrong with an event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("invalid event: {}", problems.join("; "))]
pub struct InvalidEvent {
    /// One sentence for each problem. It begins with the JSON path, and shows no value.
    pub problems: Vec<String>,
    /// The event's trigger, if the event names one.
    pub trigger_id: Option<TriggerId>,
    /// The event's fire, without what it runs, if the event is a schedule's and says which fire it is. An earlier
    /// attempt may have understood it, with other settings or in another version of the function.
    pub fire: Option<Box<Fire>>,
}

impl InvalidEvent {
    /// Returns an error with these problems, for an event that names no usable trigger and no fire.
    pub(crate) fn new(problems: Vec<String>) -> Self {
        Self { problems, trigger_id: None, fire: None }
    }
}

impl From<InvalidEvent> for Failure {
    /// Returns a failure `InvalidEvent` that no attempt repairs. It names all problems, and the trigger if the event
    /// does.
    fn from(error: InvalidEvent) -> Self {
        let message = error.to_string();
        Self { trigger_id: error.trigger_id, ..Self::fatal(ErrorType::InvalidEvent, message) }
    }
}
