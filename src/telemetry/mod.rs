//! Logs and metrics: everything the function reports to CloudWatch.

pub mod log;
pub(crate) mod metrics;
