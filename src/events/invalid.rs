//! The one error that names everything wrong with an event.

use crate::domain::{
    failure::{ErrorType, Failure},
    ids::TriggerId,
};

/// Everything that is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid event: {}", problems.join("; "))]
pub struct InvalidEvent {
    /// One sentence for each problem. It begins with the JSON path, and shows no value.
    pub problems: Vec<String>,
    /// The event's trigger, if the event names one.
    pub trigger_id: Option<TriggerId>,
}

impl InvalidEvent {
    /// Returns the error of an event whose trigger is unknown.
    pub(crate) fn new(problems: Vec<String>) -> Self {
        Self { problems, trigger_id: None }
    }
}

impl From<InvalidEvent> for Failure {
    fn from(error: InvalidEvent) -> Self {
        let message = error.to_string();
        Self { trigger_id: error.trigger_id, ..Self::fatal(ErrorType::InvalidEvent, message) }
    }
}
