//! Answers: the members of a route, to which the layer around all routes adds `metadata`.

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

/// An answer without its metadata.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    members: Map<String, Value>,
    count: Option<usize>,
}

/// The answer of a response, for the layer that writes its body.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The members of the body.
    pub members: Map<String, Value>,
    /// The number of entries, if it is a list.
    pub count: Option<usize>,
}

impl Reply {
    /// Returns an answer 200 with these members. Members that are null are left out.
    pub fn ok(members: Value) -> Self {
        Self::new(StatusCode::OK, members)
    }

    /// Returns the answer 201 to a request that created something. Members that are null are left out.
    pub fn created(members: Value) -> Self {
        Self::new(StatusCode::CREATED, members)
    }

    /// Returns the answer 202 to a request whose work goes on after it. Members that are null are left out.
    pub fn accepted(members: Value) -> Self {
        Self::new(StatusCode::ACCEPTED, members)
    }

    /// Adds a member as it is, even null. The macro `json!` would copy the value, and spell its numbers anew.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Sets the number of entries of a list, which the metadata shows.
    #[must_use]
    pub fn count(self, count: usize) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Returns an answer of this status. Members that are null are left out.
    fn new(status: StatusCode, members: Value) -> Self {
        let members = match members {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        };
        Self { status, members, count: None }
    }
}

impl IntoResponse for Reply {
    /// Returns a response with the status and an empty body: the layer around all routes writes it.
    fn into_response(self) -> Response {
        let Self { status, members, count } = self;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.extensions_mut().insert(Answered { members, count });
        response
    }
}
