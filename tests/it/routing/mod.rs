//! One bus event and the triggers it is for.

mod chains;
mod dispatch;
mod fan_out;
