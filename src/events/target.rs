//! The triggers for which a bus event is meant.

use crate::domain::ids::{ExecutionId, TriggerId, UserId};

/// The triggers for which an event is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTarget {
    /// All triggers that are subscribed to its source.
    Subscribers,
    /// One of the subscribed triggers, for which the function handed the event on to itself.
    Dispatched {
        /// The trigger.
        trigger_id: TriggerId,
        /// The trigger's user.
        user_id: UserId,
    },
    /// One trigger, whether subscribed or not. Its filters and its threshold are asked.
    Addressed {
        /// The trigger.
        trigger_id: TriggerId,
        /// The trigger's user.
        user_id: UserId,
    },
    /// A stored trigger that must run now.
    RunTrigger {
        /// The trigger.
        trigger_id: TriggerId,
        /// The trigger's user.
        user_id: UserId,
    },
    /// The executions that an execution of Step Functions waits for, whose end somebody asks for. Holds its ARN.
    CancelCaller(String),
    /// A stored execution whose end somebody asks for.
    CancelExecution {
        /// The trigger.
        trigger_id: TriggerId,
        /// The execution.
        execution_id: ExecutionId,
    },
    /// The trigger of a stored execution that must run again.
    ReplayExecution {
        /// The trigger.
        trigger_id: TriggerId,
        /// The execution.
        execution_id: ExecutionId,
    },
}
