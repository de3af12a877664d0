//! Tokens and connections.

mod cognito_token;
mod credentials;
mod dead_connections;
