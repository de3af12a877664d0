//! The shared handles that every invocation of the process borrows: the settings and one client for each service.

use crate::{
    agents::Agents,
    clients::{lambda::Dispatcher, sqs::SettleQueue},
    config::Config,
    domain::{execution::Lease, platform::Platform},
    shutdown::Shutdown,
    store::Store,
};

/// The settings and the services. It is built once for the process.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The table.
    pub store: Store,
    /// The agents and their authorizations.
    pub agents: Agents,
    /// The client that hands events on to invocations of their own.
    pub dispatcher: Dispatcher,
    /// The settle queue, which carries the timers of detached runs.
    pub settle_queue: SettleQueue,
    /// The announcement of the process's end.
    pub(crate) shutdown: Shutdown,
}

impl App {
    /// Returns the durations of a lease.
    pub(crate) fn lease(&self) -> Lease {
        Lease(self.config.lease)
    }

    /// Returns the platform that hosts the agent.
    pub(crate) fn platform(&self) -> Platform {
        Platform::of(self.config.is_agentcore)
    }
}
