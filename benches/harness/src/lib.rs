//! The parts that the benchmarks share: the programs under measurement, the measuring, and the report.

pub mod programs;
pub mod relay;
pub mod report;
pub mod samples;
pub mod svg;
pub mod trickle;

pub use programs::{Programs, cpu, invocation, peak_memory, resident_memory};
pub use report::{Report, say};
pub use samples::Samples;
pub use trickle::{Trickle, TrickleAgent};
