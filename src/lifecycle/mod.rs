//! Every step of an execution's life that touches the table.

pub(crate) mod claim;
pub(crate) mod identify;
pub(crate) mod lease;
pub(crate) mod overlap;
pub(crate) mod results;
pub(crate) mod unheld;
