//! Every step of an execution's life that touches the table.

pub(crate) mod claim;
pub(crate) mod close;
pub(crate) mod identify;
pub(crate) mod lease;
pub(crate) mod overlap;
