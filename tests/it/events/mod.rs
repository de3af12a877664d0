//! What comes in: scheduled events and events from a bus.

mod bus;
mod invalid;
mod valid;
