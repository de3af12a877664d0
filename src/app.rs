//! The shared handles that every invocation of the process borrows: the settings and one client for each service.

use crate::{
    agents::Agents,
    clients::{lambda::Dispatcher, sqs::SettleQueue, step_functions::StepFunctions},
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
    /// Step Functions, whose tasks may wait for runs.
    pub step_functions: StepFunctions,
    /// The announcement of the process's end.
    pub(crate) shutdown: Shutdown,
}

impl App {
    /// Returns the lease of the settings (`LEASE_SECONDS`).
    pub(crate) fn lease(&self) -> Lease {
        Lease(self.config.lease)
    }

    /// Returns the platform that hosts the agents, as far as it is known at the start: AgentCore if `AGENTS` is not set
    /// and the agent at `AGENT_API_URL` is there, and otherwise `Other`.
    pub(crate) fn platform(&self) -> Platform {
        Platform::of(self.config.is_agentcore)
    }
}
