//! The record store.

mod faults;
mod record_schema;
