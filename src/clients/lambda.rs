//! Hands an event on: one asynchronous invocation of this same function for each trigger to run, so that each has a
//! deadline, retries and an on-failure destination of its own. Only one operation is needed, so the HTTP client of the
//! process sends it. The SDK for Lambda would add to the binary.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, Method, Request, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    backoff,
    clients::{
        region::{Variant, address},
        sigv4::Signer,
    },
    error_chain::chain,
    redact::cut,
};

/// The time limit of one try of an Invoke, which Lambda answers as soon as it has queued the event.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_TRIES: usize = 5;

const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// The characters of a path's segment that are encoded: all but those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest part of an answer's error that is kept, in bytes.
const LONGEST_MESSAGE: usize = 200;

/// The statuses after which the AWS SDKs try again, whatever the answer's code is.
const TRANSIENT: [u16; 5] = [429, 500, 502, 503, 504];
/// The codes after which the AWS SDKs try again, whatever the answer's status is: those of throttling, and two of time.
const TRANSIENT_CODES: [&str; 16] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
];

/// The reason why Lambda did not accept an event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
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

/// Why one try has failed.
struct Failed {
    error: DispatchError,
    /// True if another try may succeed.
    is_transient: bool,
}

/// An Invoke, without what each try adds.
struct Invoke<'a> {
    url: Url,
    region: &'a str,
    payload: Bytes,
    trace: Option<HeaderValue>,
}

/// Lambda's API. Its address is looked up when the first event is handed on, because most processes never do that.
#[derive(Debug)]
pub struct Dispatcher {
    aws: SdkConfig,
    http: Client,
    signer: Signer,
    endpoint: OnceLock<Result<Url, String>>,
}

impl Dispatcher {
    /// Creates the API on the shared configuration. Its requests go through `http`. This makes none yet.
    pub fn new(aws: &SdkConfig, http: Client) -> Self {
        Self { aws: aws.clone(), http, signer: Signer::new(aws), endpoint: OnceLock::new() }
    }

    /// Queues one asynchronous invocation, in at most five tries of 5 s each and 20 s in all. Only what the AWS SDKs
    /// take for transient or throttled is tried again. A try whose answer was lost may have queued one already.
    /// Execution ids then make the second one a duplicate. `trace` is the X-Ray header of the invocation that hands on:
    /// Lambda recognises by it a function that invokes itself in a circle
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>). Without it, a function's environment
    /// is asked for one. A value that no header can hold is left out.
    ///
    /// # Errors
    /// Returns an error if Lambda does not accept it. After [`DispatchError::NoAnswer`] it may have been queued all the
    /// same.
    pub async fn invoke(&self, function: &str, payload: String, trace: Option<&str>) -> Result<(), DispatchError> {
        let endpoint = self.endpoint.get_or_init(|| endpoint(&self.aws)).as_ref();
        let endpoint = endpoint.map_err(|error| DispatchError::NoAnswer(error.clone()))?;
        let region = self.aws.region().map(AsRef::as_ref).unwrap_or_default();
        let trace = trace_header(trace, |name| std::env::var(name).ok());
        let invoke = Invoke { url: invocations(endpoint, function), region, payload: payload.into(), trace };
        let answered = timeout(OPERATION_TIMEOUT, Box::pin(self.tries(&invoke))).await;
        answered.unwrap_or_else(|_| Err(late(OPERATION_TIMEOUT)))
    }

    /// Sends an Invoke until it is accepted, refused, or tried five times.
    ///
    /// # Errors
    /// Returns the error of the last try.
    async fn tries(&self, invoke: &Invoke<'_>) -> Result<(), DispatchError> {
        let mut waits = backoff::endless().take(MAX_TRIES - 1);
        loop {
            let tried = timeout(ATTEMPT_TIMEOUT, self.try_invoke(invoke)).await;
            let failed = match tried {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failed)) => failed,
                Err(_) => Failed { error: late(ATTEMPT_TIMEOUT), is_transient: true },
            };
            let Some(wait) = waits.next().filter(|_| failed.is_transient) else { return Err(failed.error) };
            // Lambda's words are left out, because they may quote what was sent.
            let (DispatchError::Service { code: cause, .. } | DispatchError::NoAnswer(cause)) = &failed.error;
            tracing::warn!(cause, "the event is not handed on yet, trying again");
            sleep(wait).await;
        }
    }

    /// Sends an Invoke once. The caller limits its time.
    ///
    /// # Errors
    /// The error says whether another try may succeed. What cannot be signed, never can.
    async fn try_invoke(&self, invoke: &Invoke<'_>) -> Result<(), Failed> {
        let no_answer = |error, is_transient| Failed { error: DispatchError::NoAnswer(error), is_transient };
        let request = self.signed_request(invoke).await.map_err(|error| no_answer(error, false))?;
        let lost = |error: reqwest::Error| no_answer(chain(&error.without_url()), true);
        let response = self.http.execute(request).await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        // The event is queued, whatever becomes of the body, which is empty.
        if status.is_success() {
            return Ok(());
        }
        let body = response.bytes().await.map_err(lost)?;
        let (code, message) = said(&headers, &body);
        let is_transient = is_transient(status, &code);
        Err(Failed { error: DispatchError::Service { code, message }, is_transient })
    }

    /// Builds and signs the request of one try.
    ///
    /// # Errors
    /// The error says why there are no credentials or no signature.
    async fn signed_request(&self, invoke: &Invoke<'_>) -> Result<Request, String> {
        let mut request = Request::new(Method::POST, invoke.url.clone());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(INVOCATION_TYPE, HeaderValue::from_static("Event"));
        headers.extend(invoke.trace.clone().map(|trace| (TRACE, trace)));
        *request.body_mut() = Some(invoke.payload.clone().into());
        let key = self.signer.key("lambda", invoke.region).await.map_err(|error| error.to_string())?;
        let signature = key.sign(&request, SystemTime::now()).map_err(|error| error.to_string())?;
        request.headers_mut().extend(signature);
        Ok(request)
    }
}

/// Returns the error of an answer that did not come within `limit`.
fn late(limit: Duration) -> DispatchError {
    DispatchError::NoAnswer(format!("no answer within {} s", limit.as_secs()))
}

/// Returns Lambda's address as the AWS SDKs find it: the one that the program set, the one for Lambda in the
/// environment or the profile (`AWS_ENDPOINT_URL_LAMBDA`), the one for all services there, or that of the region.
///
/// # Errors
/// The error names the address or the region that is unusable. It leaves out a user and a password.
pub fn endpoint(aws: &SdkConfig) -> Result<Url, String> {
    let own = || {
        let key = ServiceConfigKey::builder().service_id("Lambda").env("AWS_ENDPOINT_URL").profile("endpoint_url");
        aws.service_config()?.load_config(key.build().ok()?)
    };
    let is_set_here = aws.get_origin("endpoint_url").is_client_config();
    let given = if is_set_here { None } else { own() }.or_else(|| aws.endpoint_url().map(str::to_owned));
    let region = aws.region().map(AsRef::as_ref).unwrap_or_default();
    let [is_fips, is_dual_stack] = [aws.use_fips(), aws.use_dual_stack()].map(Option::unwrap_or_default);
    endpoint_of(given.as_deref(), region, Variant { is_fips, is_dual_stack })
}

/// Returns the address that is `given`, or else that of the region.
///
/// # Errors
/// The error names what is unusable.
fn endpoint_of(given: Option<&str>, region: &str, variant: Variant) -> Result<Url, String> {
    let Some(text) = given else { return address("lambda", region, variant) };
    let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    Url::parse(text).ok().filter(usable).ok_or_else(|| {
        let named = text.rsplit('@').next().unwrap_or_default();
        format!("the endpoint {:?} of Lambda is no URL of http or https", cut(named, LONGEST_MESSAGE))
    })
}

/// Returns the URL at which `function`, a name or an ARN, is invoked. The endpoint's path is kept, and its query is
/// not.
fn invocations(endpoint: &Url, function: &str) -> Url {
    let mut url = endpoint.clone();
    let base = endpoint.path().trim_end_matches('/');
    let function = utf8_percent_encode(function, RESERVED);
    url.set_path(&format!("{base}/2015-03-31/functions/{function}/invocations"));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Returns the header of the trace: the one that is `given`, or that of the environment in a Lambda function. `var`
/// looks a variable up.
fn trace_header(given: Option<&str>, var: impl Fn(&str) -> Option<String>) -> Option<HeaderValue> {
    let of_environment = || var("AWS_LAMBDA_FUNCTION_NAME").and_then(|_| var("_X_AMZN_TRACE_ID"));
    HeaderValue::try_from(given.map(str::to_owned).or_else(of_environment)?).ok()
}

/// Returns the code and the message of an answer that is an error.
fn said(headers: &HeaderMap, body: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: &[&str]| names.iter().find_map(|name| body[*name].as_str());
    let named = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok());
    let code = named.or_else(|| text(&["code", "__type"])).unwrap_or_default();
    // Behind the colon is a URL, and before the # a namespace.
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().filter(|code| !code.is_empty()).unwrap_or("unknown error");
    let message = text(&["message", "Message", "errorMessage"]).unwrap_or_default();
    (cut(code, LONGEST_MESSAGE).to_owned(), cut(message, LONGEST_MESSAGE).to_owned())
}

/// Returns true if another try may succeed after an answer with this status and this code.
fn is_transient(status: StatusCode, code: &str) -> bool {
    TRANSIENT.contains(&status.as_u16()) || TRANSIENT_CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
    use aws_types::{origin::Origin, service_config::LoadServiceConfig};
    use serde_json::json;

    use super::*;
    use crate::clients::http::Clients;

    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:run";

    /// What the environment says of Lambda alone.
    #[derive(Debug)]
    struct Own(Option<&'static str>);

    impl LoadServiceConfig for Own {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            assert_eq!((key.service_id(), key.env(), key.profile()), ("Lambda", "AWS_ENDPOINT_URL", "endpoint_url"));
            self.0.map(str::to_owned)
        }
    }

    fn aws(url: Option<&str>, origin: Origin, own: Option<&'static str>) -> aws_types::sdk_config::Builder {
        let credentials = SharedCredentialsProvider::new(Credentials::new("key", "secret", None, None, "test"));
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(credentials)
            .service_config(Own(own));
        builder.set_endpoint_url(url.map(str::to_owned)).insert_origin("endpoint_url", origin);
        builder
    }

    fn dispatcher(aws: &SdkConfig) -> Dispatcher {
        Dispatcher::new(aws, Clients::direct(None).unwrap().aws)
    }

    #[test]
    fn the_endpoint_is_the_one_that_the_sdk_would_take() {
        let (all, own) = (Some("http://all:1/x"), Some("http://own:2"));
        let (program, variable) = (Origin::shared_config, Origin::shared_environment_variable);
        let regional = "https://lambda.us-east-1.amazonaws.com/";
        for (url, origin, own, expected) in [
            (all, program(), own, "http://all:1/x"),
            (all, program(), None, "http://all:1/x"),
            (all, variable(), own, "http://own:2/"),
            (all, variable(), None, "http://all:1/x"),
            (None, variable(), own, "http://own:2/"),
            (None, variable(), None, regional),
        ] {
            assert_eq!(endpoint(&aws(url, origin, own).build()).unwrap().as_str(), expected, "{url:?} {own:?}");
        }
        let both = aws(None, Origin::shared_config(), None).use_fips(true).use_dual_stack(true).build();
        assert_eq!(endpoint(&both).unwrap().as_str(), "https://lambda-fips.us-east-1.api.aws/");
    }

    #[test]
    fn an_unusable_endpoint_is_named_without_its_password() {
        for (given, named) in
            [("lambda:80", "lambda:80"), ("", "\"\""), ("ftp://host", "ftp://host"), ("://u:secret@host", "\"host\"")]
        {
            let error = endpoint_of(Some(given), "us-east-1", Variant::default()).unwrap_err();
            assert!(error.contains(named) && !error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_unusable_endpoint_is_an_error_of_the_invoke() {
        let dispatcher = dispatcher(&aws(Some("nowhere"), Origin::shared_config(), None).build());
        let error = dispatcher.invoke(ARN, "{}".to_owned(), None).await.unwrap_err().to_string();
        assert!(error.contains("\"nowhere\""), "{error}");
    }

    #[test]
    fn a_function_is_one_segment_of_the_path() {
        for (endpoint, function, expected) in [
            ("https://a.b/", "run-it_1", "https://a.b/2015-03-31/functions/run-it_1/invocations"),
            (
                "http://a:1/x/?y#z",
                "arn:aws:lambda:r:1:function:f:$LATEST",
                "http://a:1/x/2015-03-31/functions/arn%3Aaws%3Alambda%3Ar%3A1%3Afunction%3Af%3A%24LATEST/invocations",
            ),
            ("https://a.b/x", "a/b?c#d é", "https://a.b/x/2015-03-31/functions/a%2Fb%3Fc%23d%20%C3%A9/invocations"),
        ] {
            assert_eq!(invocations(&Url::parse(endpoint).unwrap(), function).as_str(), expected);
        }
    }

    #[tokio::test]
    async fn a_request_is_asynchronous_and_signed_without_its_trace() {
        let dispatcher = dispatcher(&aws(None, Origin::shared_config(), None).build());
        let url = invocations(&endpoint(&dispatcher.aws).unwrap(), ARN);
        let trace = Some(HeaderValue::from_static("Root=1"));
        let invoke = Invoke { url, region: "us-east-1", payload: "{}".into(), trace };
        let request = dispatcher.signed_request(&invoke).await.unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!((request.method(), request.body().unwrap().as_bytes()), (&Method::POST, Some(&b"{}"[..])));
        assert_eq!((header("x-amz-invocation-type"), header("x-amzn-trace-id")), ("Event", "Root=1"));
        let signature = header("authorization");
        assert!(signature.contains("/us-east-1/lambda/aws4_request, "), "{signature}");
        assert!(signature.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-invocation-type,"), "{signature}");
    }

    #[test]
    fn a_trace_is_the_given_one_or_that_of_a_function() {
        let (function, trace) = (("AWS_LAMBDA_FUNCTION_NAME", "run"), ("_X_AMZN_TRACE_ID", "Root=2"));
        for (given, environment, expected) in [
            (Some("Root=1"), &[function, trace][..], Some("Root=1")),
            (None, &[function, trace], Some("Root=2")),
            (None, &[trace], None),
            (None, &[function], None),
            (Some("a\nb"), &[function, trace], None),
            (None, &[function, ("_X_AMZN_TRACE_ID", "a\nb")], None),
        ] {
            let var =
                |name: &str| environment.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            let header = trace_header(given, var);
            assert_eq!(header.as_ref().map(|value| value.to_str().unwrap()), expected, "{given:?} {environment:?}");
        }
    }

    #[test]
    fn an_error_is_that_of_the_header_or_of_the_body() {
        for (header, body, code, message) in [
            (Some("A:http://x/"), json!({"__type": "B", "Message": "m"}).to_string(), "A", "m"),
            (Some("x#A:http://x/"), "{".to_owned(), "A", ""),
            (None, json!({"__type": "com.amazonaws#B", "message": "m"}).to_string(), "B", "m"),
            (None, json!({"code": "C", "__type": "B", "errorMessage": "m"}).to_string(), "C", "m"),
            (None, json!({"code": 1, "message": ["m"]}).to_string(), "unknown error", ""),
            (None, "<html>".to_owned(), "unknown error", ""),
            (Some(""), String::new(), "unknown error", ""),
            (None, json!(["code"]).to_string(), "unknown error", ""),
            (None, json!({"message": "é".repeat(150)}).to_string(), "unknown error", &"é".repeat(100)),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|value| (ERROR_TYPE, HeaderValue::from_static(value))));
            assert_eq!(said(&headers, body.as_bytes()), (code.to_owned(), message.to_owned()), "{header:?} {body}");
        }
    }

    #[test]
    fn what_is_transient_or_throttled_is_tried_again() {
        for (status, code, expected) in [
            (429, "unknown error", true),
            (429, "TooManyRequestsException", true),
            (500, "ServiceException", true),
            (502, "EC2UnexpectedException", true),
            (503, "unknown error", true),
            (504, "unknown error", true),
            (400, "ThrottlingException", true),
            (400, "RequestTimeout", true),
            (408, "RequestTimeoutException", true),
            (301, "unknown error", false),
            (400, "InvalidRequestContentException", false),
            (403, "AccessDeniedException", false),
            (404, "ResourceNotFoundException", false),
            (408, "unknown error", false),
            (413, "RequestTooLargeException", false),
            (501, "unknown error", false),
        ] {
            assert_eq!(is_transient(StatusCode::from_u16(status).unwrap(), code), expected, "{status} {code}");
        }
    }
}
