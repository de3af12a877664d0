//! The process around the handler.

mod process;
mod request_counts;
mod sigterm;
mod workers;
