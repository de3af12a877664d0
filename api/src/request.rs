//! The parts that handlers take from a request: the body as JSON, the query, and the caller.

use std::collections::HashMap;

use agent_trigger::json::lenient;
use axum::{
    body::Bytes,
    extract::{self, FromRequest, FromRequestParts, Query, Request},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{auth::Caller, error::ApiError};

/// The largest body in bytes. An item may have 400 KB, of which an API needs a part itself.
pub const LARGEST_BODY: usize = 256 * 1024;

/// The object in a request's body. An empty body is an empty object. Numbers keep their spelling, and halves of
/// surrogate pairs are marked ([`agent_trigger::json::surrogate`]), as in the events that the function reads.
#[derive(Debug)]
pub struct JsonObject(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    /// Reads the body as a JSON object. An empty or blank one is an empty object.
    ///
    /// # Errors
    /// Returns `TooLarge` if it has more than [`LARGEST_BODY`] bytes or cannot be read, and `InvalidArgument` if it is
    /// no UTF-8 or no JSON object.
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, state).await.map_err(|_| ApiError::TooLarge)?;
        if body.len() > LARGEST_BODY {
            return Err(ApiError::TooLarge);
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(Map::new()));
        }
        let problem = |problem: &str| ApiError::InvalidArgument(format!("the body {problem}"));
        let text = std::str::from_utf8(&body).map_err(|_| problem("must be UTF-8"))?;
        match lenient::parse(text) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(problem("must be a JSON object")),
            Err(error) => Err(problem(&error.to_string())),
        }
    }
}

/// The names in a request's path. Nothing is found under names that are not UTF-8.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    /// Reads the names in the path. Names that are not understood are `NotFound`.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = extract::Path::from_request_parts(parts, state).await;
        path.map(|extract::Path(names)| Self(names)).map_err(|_| ApiError::NotFound)
    }
}

/// The query's parameters. If several have one name, the last counts.
#[derive(Debug)]
pub struct Params(HashMap<String, String>);

impl Params {
    /// Returns a parameter, or `None` if it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    /// Reads the query's parameters. A query that cannot be read is `InvalidArgument`.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|_| ApiError::InvalidArgument("the query cannot be read".to_owned()))?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    /// Returns the caller that the layer around the routes has found. Without one the request is `Unauthenticated`.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // The layer around the routes has put it there.
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Unauthenticated)
    }
}
