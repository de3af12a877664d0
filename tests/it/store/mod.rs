//! The record store.

mod faults;
