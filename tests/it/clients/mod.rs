//! Tokens and connections.

mod cognito_token;
mod dead_connections;
