//! The examples: `cargo run --example local` and `cargo run --example history`, in the root of the repository.
