//! What the pipes of template.yaml announce, and what its stack costs.

mod health_pipe;
mod idle_cost;
mod outbox;
mod runs_cost;
