//! One execution from its claim to its end, with several attempts at it, and several executions of one trigger.

mod attempts;
mod cancel_other;
mod cancelled;
mod clocks;
mod decided;
mod harmless;
mod killed;
mod overlap;
mod same_fire;
mod slots;
mod takeover;
mod waiting;
