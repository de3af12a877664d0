//! Reads JSON that others wrote.

pub(crate) mod ends;
pub(crate) mod extent;
pub(crate) mod fields;
pub mod lenient;
pub(crate) mod near_miss;
mod nested;
pub(crate) mod number;
pub(crate) mod python;
pub mod query;
pub mod query_cost;
pub(crate) mod scan;
pub(crate) mod skim;
pub mod steps;
pub mod surrogate;
pub(crate) mod text;
