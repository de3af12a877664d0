//! acc
