//! Clients of the services that only the control plane uses.

pub mod scheduler;
pub mod ssm;
