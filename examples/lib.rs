//! The example `cargo run --example local`, in the root of the repository.
