//! The process around the handler.

mod managed_instances;
mod process;
mod request_counts;
mod sigterm;
mod workers;
