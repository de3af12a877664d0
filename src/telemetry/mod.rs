//! What the function tells CloudWatch: logs and metrics.

pub mod log;
pub(crate) mod metrics;
