//! What Lambda gave up on.

mod bus_events;
mod ends;
mod failure_reports;
