//! Reads JSON that others wrote.

pub(crate) mod fields;
pub(crate) mod lenient;
pub(crate) mod near_miss;
pub(crate) mod python;
pub(crate) mod query;
pub(crate) mod scan;
pub(crate) mod skim;
pub(crate) mod text;
