//! The one error that names everything wrong with an event.

use crate::domain::{
    failure::{ErrorType, Failure},
    ids::TriggerId,
};

/// Everything that is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid event: {}", problems.join("; "))]
pub struct InvalidEvent {
    /// One sentence a problem, each beginning with the JSON path; none shows a value.
    pub problems: Vec<String>,
    /// The event's trigger, where it named one.
    pub trigger_id: Option<TriggerId>,
}

impl InvalidEvent {
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
