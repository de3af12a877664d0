//! Every step of an execution's life that touches the table.

pub mod abandoned;
pub mod claim;
pub mod close;
pub mod detached;
pub mod earlier;
pub(crate) mod identify;
pub mod lease;
pub mod look;
pub mod looks;
pub mod overlap;
pub mod report;
