//! Schedules in the dialect of EventBridge Scheduler: the meaning of an expression, the times at which it fires, and
//! its description in words. Everything but the routes is pure.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

pub mod cron;
pub mod describe;
pub mod expression;
pub mod field;
pub mod next_runs;
pub mod routes;
pub mod schedule;
pub mod unix;
