//! The errors of the API, each with its status and its code. Their form is that of the frontend which the API serves.

use agent_trigger::store::error::StoreError;
use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::clients::{scheduler::SchedulerError, ssm::SecretError};

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, such as `scheduleConfig.expression`.
    pub field: String,
    /// One sentence.
    pub description: String,
}

/// An error that a client sees.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The request is not one that the route understands.
    #[error("{0}")]
    InvalidArgument(String),
    /// Fields are wrong. All of them are named.
    #[error("the request has invalid fields")]
    Validation(Vec<Violation>),
    /// There is no usable token.
    #[error("authentication is required")]
    Unauthenticated,
    /// The request comes from a place that a local port does not serve.
    #[error("this port serves only pages of its own")]
    Forbidden,
    /// There is no such thing for this user.
    #[error("not found")]
    NotFound,
    /// There was such a thing, and it was deleted.
    #[error("it was deleted")]
    Gone,
    /// A delivery whose sender is not known. The answer is the same for every cause.
    #[error("the signature is missing or wrong")]
    Untrusted {
        /// The scheme by which HTTP's own senders log in. Some do only after they are told.
        challenge: Option<&'static str>,
    },
    /// A delivery from an address that is not on the webhook's list.
    #[error("this address may not send here")]
    AddressNotAllowed,
    /// More deliveries than the webhook takes.
    #[error("too many deliveries; send again in {seconds} s")]
    TooMany {
        /// The seconds after which it takes further ones.
        seconds: u64,
    },
    /// The route does not know the method.
    #[error("the method is not allowed here")]
    MethodNotAllowed,
    /// The state of things does not allow it.
    #[error("{message}")]
    Conflict {
        /// One sentence.
        message: String,
        /// What stands in its way.
        details: Value,
    },
    /// The trigger has another version than the client believes.
    #[error("the trigger was changed since you read it")]
    VersionMismatch {
        /// The version that it has.
        version: Value,
    },
    /// The body is too large.
    #[error("the body is too large")]
    TooLarge,
    /// A fault of the API's own.
    #[error("an internal error occurred")]
    Internal,
    /// A service that the API uses does not let it in, or has no group for its schedules. Trying again does not help.
    #[error("{0}")]
    Upstream(String),
    /// It cannot be done now: a service that the API uses refuses or does not answer, or somebody else changes the
    /// trigger all the time. Trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// The trigger was written, and its schedule or its webhook was not completed. The next request of the same client
    /// is about this version.
    #[error("{cause}")]
    Saved {
        /// The trigger.
        trigger_id: String,
        /// The version that it has now.
        version: u64,
        /// The reason why it was not completed.
        cause: Box<ApiError>,
    },
}

/// The error of a response, for the layer that writes its body.
#[derive(Debug, Clone)]
pub struct Failed(pub ApiError);

impl ApiError {
    /// Returns the error of one field, with one sentence about it.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Validation(vec![Violation { field: field.to_owned(), description: description.into() }])
    }

    /// Returns the status, the code of the body, and the reason phrase that the body names as `error`.
    pub fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidArgument(_) => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "Bad Request"),
            Self::Validation(_) => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR", "Validation Error"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "INVALID_ARGUMENT", "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND", "Not Found"),
            Self::Gone => (StatusCode::GONE, "NOT_FOUND", "Gone"),
            Self::Untrusted { .. } => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "Unauthorized"),
            Self::AddressNotAllowed => (StatusCode::FORBIDDEN, "INVALID_ARGUMENT", "Forbidden"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "SERVICE_UNAVAILABLE", "Too Many Requests"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "INVALID_ARGUMENT", "Method Not Allowed"),
            Self::Conflict { .. } => (StatusCode::CONFLICT, "CONFLICT", "Conflict"),
            Self::VersionMismatch { .. } => (StatusCode::PRECONDITION_FAILED, "CONFLICT", "Precondition Failed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "Payload Too Large"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "Internal Server Error"),
            Self::Upstream(_) => (StatusCode::BAD_GATEWAY, "UPSTREAM_ERROR", "Bad Gateway"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", "Service Unavailable"),
            Self::Saved { cause, .. } => cause.kind(),
        }
    }

    /// Returns the `details` of the body: the fields that are wrong, what stands in the way, or the version; for
    /// `Saved` those of its cause, with the trigger and its version. `None` for an error that has none.
    fn details(&self) -> Option<Value> {
        match self {
            Self::Validation(violations) => {
                let violations = violations
                    .iter()
                    .map(|Violation { field, description }| json!({"field": field, "description": description}));
                Some(json!({"fieldViolations": violations.collect::<Vec<_>>()}))
            }
            Self::Conflict { details, .. } => Some(details.clone()),
            Self::VersionMismatch { version } => Some(json!({"version": version})),
            Self::Saved { trigger_id, version, cause } => {
                let mut details = cause.details().unwrap_or_else(|| json!({}));
                details["triggerId"] = json!(trigger_id);
                details["version"] = json!(version);
                Some(details)
            }
            _ => None,
        }
    }

    /// Returns the message. The form of the frontend shows it alone, so it names the fields too.
    fn message(&self) -> String {
        match self {
            Self::Validation(violations) => {
                let said: Vec<_> = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
                said.join("; ")
            }
            Self::Saved { cause, .. } => cause.message(),
            other => other.to_string(),
        }
    }

    /// Returns the body: `error`, `message`, `code`, `requestId`, `timestamp`, and `details` if there are some.
    pub fn body(&self, request_id: &str, timestamp: &str) -> Value {
        let (_, code, reason) = self.kind();
        let mut body = json!({"error": reason, "message": self.message(), "code": code, "requestId": request_id,
            "timestamp": timestamp});
        if let Some(details) = self.details() {
            body["details"] = details;
        }
        body
    }
}

impl IntoResponse for ApiError {
    /// Returns a response with the error's status and an empty body: the layer around all routes writes it. With 429
    /// and 503 it has `Retry-After`, 5 s unless the error says otherwise, and with a challenge `WWW-Authenticate`.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind().0;
        let wait = match &self {
            Self::TooMany { seconds } => Some(*seconds),
            _ if response.status() == StatusCode::SERVICE_UNAVAILABLE => Some(5),
            _ => None,
        };
        if let Some(seconds) = wait {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::Untrusted { challenge: Some(challenge) } = &self {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(Failed(self));
        response
    }
}

impl From<StoreError> for ApiError {
    /// Returns the error for a client, and logs the cause. What DynamoDB can never take is the client's fault: a
    /// `ValidationException`, or such a write of a transaction. A row that is not understood is an internal error, and
    /// anything else means to try again.
    fn from(error: StoreError) -> Self {
        tracing::error!(cause = %agent_trigger::error_chain::chain(&error), "the table failed");
        match error {
            StoreError::Unreadable => Self::Internal,
            // Numbers, depths and sizes that DynamoDB does not take.
            StoreError::Service { code, message, .. } if code == "ValidationException" => {
                Self::InvalidArgument(format!("the table does not take it: {message}"))
            }
            StoreError::Unwritable { message, .. } => {
                Self::InvalidArgument(format!("the table does not take it: {message}"))
            }
            _ => Self::Unavailable("the table does not answer; try again".to_owned()),
        }
    }
}

impl From<SchedulerError> for ApiError {
    /// Returns the error for a client. An expression that Scheduler refuses is the client's fault. Everything else is
    /// logged: missing rights and a missing group are 502, all others mean to try again.
    fn from(error: SchedulerError) -> Self {
        match error {
            SchedulerError::Refused(words) => {
                Self::field("scheduleConfig.expression", format!("EventBridge Scheduler refused it: {words}"))
            }
            other => {
                tracing::error!(cause = %other, "EventBridge Scheduler failed");
                match other {
                    SchedulerError::Denied => {
                        Self::Upstream("EventBridge Scheduler does not let the API in".to_owned())
                    }
                    // A schedule that is not there is created, so what is missing is its group.
                    SchedulerError::NotFound => Self::Upstream("the schedule group does not exist".to_owned()),
                    SchedulerError::Conflict => {
                        Self::Unavailable("the schedule is being changed; try again".to_owned())
                    }
                    _ => Self::Unavailable(
                        "EventBridge Scheduler does not answer; save again to complete this".to_owned(),
                    ),
                }
            }
        }
    }
}

impl From<SecretError> for ApiError {
    /// Returns the error for a client, and logs the cause. Missing rights are 502, all others mean to save again.
    fn from(error: SecretError) -> Self {
        tracing::error!(cause = %error, "the Parameter Store failed");
        match error {
            SecretError::Denied => Self::Upstream("the Parameter Store does not let the API in".to_owned()),
            _ => Self::Unavailable("the Parameter Store does not answer; save again to complete this".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_can_never_take_is_not_tried_again() {
        let service = |code: &str| StoreError::Service {
            operation: "UpdateItem",
            code: code.to_owned(),
            message: "too large".to_owned(),
        };
        let unwritable = StoreError::Unwritable { index: 0, message: "too large".to_owned() };
        for (error, is_clients) in [
            (service("ValidationException"), true),
            (unwritable, true),
            (service("ThrottlingException"), false),
            (StoreError::Contended, false),
        ] {
            let words = error.to_string();
            let is_invalid = matches!(ApiError::from(error), ApiError::InvalidArgument(_));
            assert_eq!(is_invalid, is_clients, "{words}");
        }
    }
}
