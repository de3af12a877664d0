//! Schedules in the dialect of EventBridge Scheduler: what an expression says, when it fires, and how that is said in
//! words. Everything here is pure.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

pub mod cron;
pub mod describe;
pub mod expression;
pub mod field;
pub mod next_runs;
pub mod routes;
pub mod schedule;
pub mod unix;
