//! Hands an event on: one asynchronous invocation of this same function for each trigger to run, so that each has a
//! deadline, retries and an on-failure destination of its own.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use std::{sync::OnceLock, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_lambda::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::InvocationType,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};

use crate::{error_chain::causes, redact::cut};

/// The time limit of one try of an Invoke, which Lambda answers as soon as it has queued the event.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_TRIES: u32 = 5;

/// The reason why Lambda did not accept an event.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Lambda answered with an error.
    #[error("Lambda Invoke failed: {code}: {message}")]
    Service {
        /// Lambda's error code.
        code: String,
        /// Lambda's own words.
        message: String,
    },
    /// No answer came, so it is unknown whether the event was queued.
    #[error("Lambda Invoke got no answer: {0}")]
    NoAnswer(String),
}

/// Lambda's API. Its client is created when the first event is handed on, because most processes never do that.
#[derive(Debug)]
pub struct Dispatcher {
    aws: SdkConfig,
    client: OnceLock<Client>,
}

impl Dispatcher {
    /// Creates the API on the shared configuration. This makes no client and no request yet.
    pub fn new(aws: SdkConfig) -> Self {
        Self { aws, client: OnceLock::new() }
    }

    /// Queues one asynchronous invocation, in at most five tries of 5 s each and 20 s in all. Only what the SDK takes
    /// for transient or throttled is tried again. A try whose answer was lost may have queued one already. Execution
    /// ids then make the second one a duplicate. `trace` is the X-Ray header of the invocation that hands on: Lambda
    /// recognises by it a function that invokes itself in a circle
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>).
    ///
    /// # Errors
    /// Returns an error if Lambda does not accept it. After [`DispatchError::NoAnswer`] it may have been queued all the
    /// same.
    pub async fn invoke(&self, function: &str, payload: String, trace: Option<&str>) -> Result<(), DispatchError> {
        let request = self.client().invoke().function_name(function).invocation_type(InvocationType::Event);
        let trace = trace.map(str::to_owned);
        // The SDK would take the header from an environment variable, which several invocations at once cannot share.
        let request = request.payload(Blob::new(payload)).customize().mutate_request(move |request| {
            if let Some(trace) = trace.clone() {
                // A value that no header can hold is left out.
                let _ = request.headers_mut().try_insert("x-amzn-trace-id", trace);
            }
        });
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error @ SdkError::ServiceError(_)) => Err(DispatchError::Service {
                code: error.code().unwrap_or("unknown error").to_owned(),
                message: cut(error.message().unwrap_or_default(), 200).to_owned(),
            }),
            Err(error) => Err(DispatchError::NoAnswer(causes(&error))),
        }
    }

    /// Returns the client, which is built by the first caller.
    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let timeouts = TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build();
            let config = aws_sdk_lambda::config::Builder::from(&self.aws)
                .timeout_config(timeouts)
                .retry_config(RetryConfig::standard().with_max_attempts(MAX_TRIES))
                .build();
            Client::from_conf(config)
        })
    }
}
