//! What every invocation of the process borrows: the settings and one client for each service.

use crate::{agents::Agents, clients::lambda::Dispatcher, config::Config, store::Store};

/// The settings and the services. It is built once for the process.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The table.
    pub store: Store,
    /// The agents, and what proves to them who calls.
    pub agents: Agents,
    /// Hands events on to invocations of their own.
    pub dispatcher: Dispatcher,
}

impl App {
    /// Returns the lease's times.
    pub(crate) fn lease(&self) -> crate::domain::execution::Lease {
        crate::domain::execution::Lease(self.config.lease)
    }
}
