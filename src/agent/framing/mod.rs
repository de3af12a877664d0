//! Framing: cuts the bytes of an answer into lines, frames or one document.

pub(crate) mod document;
pub(crate) mod lines;
pub(crate) mod sse;
