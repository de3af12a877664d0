//! What Lambda gave up on.

mod bus_events;
mod failure_reports;
