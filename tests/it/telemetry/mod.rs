//! Metrics.

mod metrics_of_events;
mod metrics_of_runs;
