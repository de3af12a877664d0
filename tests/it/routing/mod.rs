//! One bus event and the triggers it is for.

mod addressed;
mod chains;
mod dispatch;
pub(crate) mod ends;
mod fan_out;
mod stale_copies;
