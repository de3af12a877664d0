//! Hands an event on: one asynchronous invocation of this same function for each trigger to run, so that each has a
//! deadline, retries and an on-failure destination of its own. Only one operation is needed, so the HTTP client of the
//! process sends it. The SDK for Lambda would add to the binary.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

mod answer;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, Method, Request, Url,
    header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue},
};
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use crate::{
    backoff,
    clients::{
        lambda::answer::{Again, CLOCK_TOLERANCE, LONGEST_MESSAGE, again_after, clock_ahead, said},
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
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// The characters of a path's segment that are encoded: all but those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The factor by which the waits are longer after throttling, as in the AWS SDKs: then the first is up to 1 s.
const THROTTLED: f64 = 2.5;

/// The reason why Lambda did not accept an event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// Lambda answered with an error: with its code, or the status if there is none, and its own words unless these
    /// may quote the event.
    #[error("Lambda Invoke failed: {0}")]
    Service(String),
    /// No answer came, so it is unknown whether the event was queued.
    #[error("Lambda Invoke got no answer: {0}")]
    NoAnswer(String),
    /// Nothing was sent: the address or the credentials are unusable.
    #[error("Lambda Invoke was not sent: {0}")]
    NotSent(String),
}

/// Why one try has failed.
struct Failed {
    error: DispatchError,
    again: Again,
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
    /// The seconds by which Lambda's clock was ahead of this one, once that was found wrong.
    clock_ahead: AtomicI64,
}

impl Dispatcher {
    /// Creates the API on the shared configuration. Its requests go through `http`. This makes none yet.
    pub fn new(aws: &SdkConfig, http: Client) -> Self {
        Self {
            aws: aws.clone(),
            http,
            signer: Signer::new(aws),
            endpoint: OnceLock::new(),
            clock_ahead: AtomicI64::new(0),
        }
    }

    /// Queues one asynchronous invocation, in at most five tries of 5 s each and 20 s in all. Only what the AWS SDKs
    /// take for transient or throttled is tried again, and a refusal that a wrong clock explains. A try whose answer was
    /// lost may have queued one already. Execution ids then make the second one a duplicate. `trace` is the X-Ray header
    /// of the invocation that hands on: Lambda recognises by it a function that invokes itself in a circle
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>). Without it, a function's environment
    /// is asked for one. A value that no header can hold is left out.
    ///
    /// # Errors
    /// Returns an error if Lambda does not accept it. After [`DispatchError::NoAnswer`] it may have been queued all the
    /// same.
    pub async fn invoke(&self, function: &str, payload: String, trace: Option<&str>) -> Result<(), DispatchError> {
        let endpoint = self.endpoint.get_or_init(|| endpoint(&self.aws)).as_ref();
        let endpoint = endpoint.map_err(|error| DispatchError::NotSent(error.clone()))?;
        let region = self.aws.region().map(AsRef::as_ref).unwrap_or_default();
        let trace = trace_header(trace, |name| std::env::var(name).ok());
        let invoke = Invoke { url: invocations(endpoint, function), region, payload: payload.into(), trace };
        let mut last = None;
        let answered = timeout(OPERATION_TIMEOUT, Box::pin(self.tries(&invoke, &mut last))).await;
        answered.unwrap_or_else(|_| Err(late(OPERATION_TIMEOUT, last.as_ref())))
    }

    /// Sends an Invoke until it is accepted, refused, or tried five times. `last` is the error of the last try but one.
    ///
    /// # Errors
    /// Returns the error of the last try.
    async fn tries(&self, invoke: &Invoke<'_>, last: &mut Option<DispatchError>) -> Result<(), DispatchError> {
        let mut waits = backoff::endless().take(MAX_TRIES - 1);
        loop {
            let tried = timeout(ATTEMPT_TIMEOUT, self.try_invoke(invoke)).await;
            let failed = match tried {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failed)) => failed,
                Err(_) => Failed { error: late(ATTEMPT_TIMEOUT, None), again: Again::Maybe },
            };
            let Some(wait) = waits.next().filter(|_| failed.again != Again::No) else { return Err(failed.error) };
            tracing::warn!(cause = %failed.error, "the event is not handed on yet, trying again");
            *last = Some(failed.error);
            sleep(if failed.again == Again::Later { wait.mul_f64(THROTTLED) } else { wait }).await;
        }
    }

    /// Sends an Invoke once. The caller limits its time. If a refusal tells a wrong clock, the next try is signed by
    /// Lambda's.
    ///
    /// # Errors
    /// The error says whether another try may succeed. What cannot be signed or sent, never can.
    async fn try_invoke(&self, invoke: &Invoke<'_>) -> Result<(), Failed> {
        let not_sent = |error| Failed { error: DispatchError::NotSent(error), again: Again::No };
        let request = self.signed_request(invoke).await.map_err(not_sent)?;
        let response = self.http.execute(request).await.map_err(|error| match error.is_builder() {
            true => not_sent(chain(&error.without_url())),
            false => Failed { error: DispatchError::NoAnswer(chain(&error.without_url())), again: Again::Maybe },
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        // The event is queued, whatever becomes of the body, which is empty.
        if status.is_success() {
            return Ok(());
        }
        // A refusal whose words are lost is a refusal.
        let body = response.bytes().await.unwrap_or_default();
        let (code, words) = said(status, &headers, &body);
        let mut again = again_after(status, &code);
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let used = self.clock_ahead.load(Ordering::Relaxed);
        if let Some(ahead) =
            clock_ahead(&code, headers.get(DATE), now).filter(|ahead| (ahead - used).abs() > CLOCK_TOLERANCE)
        {
            self.clock_ahead.store(ahead, Ordering::Relaxed);
            again = Again::Maybe;
        }
        Err(Failed { error: DispatchError::Service(words), again })
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
        let ahead = self.clock_ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = SystemTime::now();
        let at = if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now);
        let signature = key.sign(&request, at).map_err(|error| error.to_string())?;
        request.headers_mut().extend(signature);
        Ok(request)
    }
}

/// Returns the error of an answer that did not come within `limit`, with that of the try before.
fn late(limit: Duration, before: Option<&DispatchError>) -> DispatchError {
    let before = before.map(|error| format!("; before: {error}")).unwrap_or_default();
    DispatchError::NoAnswer(format!("no answer within {} s{before}", limit.as_secs()))
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
    if given.is_some() && (is_fips || is_dual_stack) {
        return Err("an endpoint of one's own is neither one of FIPS nor dual-stack: leave one of them out".to_owned());
    }
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
    use aws_types::{origin::Origin, service_config::LoadServiceConfig};

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
        for (is_fips, is_dual_stack) in [(true, false), (false, true)] {
            let given = aws(None, variable(), own).use_fips(is_fips).use_dual_stack(is_dual_stack).build();
            assert!(endpoint(&given).is_err(), "nobody knows whether an endpoint of one's own is such a one");
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

    #[tokio::test]
    async fn a_refusal_by_another_clock_is_signed_again_by_that_clock() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ahead = OffsetDateTime::now_utc() + Duration::from_secs(600);
        let (weekday, month, (hour, minute, second)) =
            (ahead.weekday().to_string(), ahead.month().to_string(), ahead.to_hms());
        let day = format!("{weekday:.3}, {:02} {month:.3} {}", ahead.day(), ahead.year());
        let date = format!("{day} {hour:02}:{minute:02}:{second:02} GMT");
        let refused = format!(
            "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: InvalidSignatureException\r\ndate: {date}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        let serving = std::thread::spawn(move || {
            ["HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", &refused]
                .map(str::to_owned)
                .into_iter()
                .rev()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = [0; 4096];
                    let length = stream.read(&mut request).unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    request.split_once("x-amz-date: ").unwrap().1[..13].to_owned()
                })
                .collect::<Vec<_>>()
        });
        let dispatcher = dispatcher(&aws(Some(&url), Origin::shared_config(), None).build());
        assert_eq!(dispatcher.invoke(ARN, "{}".to_owned(), None).await, Ok(()));
        let hours = |at: OffsetDateTime| (at.hour(), at.minute());
        let told = |date: &str| (date[9..11].parse::<u8>().unwrap(), date[11..13].parse::<u8>().unwrap());
        let signed = serving.join().unwrap();
        assert_ne!(told(&signed[0]), hours(ahead));
        let close = [ahead, ahead + Duration::from_secs(60)].map(hours);
        assert!(close.contains(&told(&signed[1])), "{signed:?} {ahead}");
    }
}
