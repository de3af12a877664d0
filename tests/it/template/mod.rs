//! What the pipes of template.yaml announce.

mod health_pipe;
mod outbox;
