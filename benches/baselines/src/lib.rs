//! What agent-trigger is measured against. The programs are examples, not binaries: `cargo lambda watch` serves every
//! binary of a workspace as a function of its own.
