//! Values from SSM's Parameter Store. Only one operation is needed, so the HTTP client of the process sends it. The SDK
//! for SSM would add a tenth to the binary.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Method, Request, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    backoff,
    clients::{
        region::{Variant, address},
        sigv4::Signer,
    },
    config::{Config, Secret},
    error_chain::chain,
};

/// The time limit of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which a value is used before it is read again.
const LIFE: Duration = Duration::from_secs(5 * 60);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// The codes of throttling, which SSM answers with 400.
const THROTTLING: [&str; 3] = ["ThrottlingException", "TooManyUpdates", "RequestLimitExceeded"];

/// The reason why there is no value. No error holds a parameter's value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ParameterError {
    /// There is no parameter of this name.
    #[error("the SSM parameter {0} does not exist")]
    NotFound(String),
    /// SSM refused, and would refuse again.
    #[error("SSM refused the parameter {name}: {code}")]
    Refused {
        /// The parameter.
        name: String,
        /// SSM's error code.
        code: String,
    },
    /// SSM was unreachable, busy or failing.
    #[error("SSM did not give the parameter {name}: {cause}")]
    Transient {
        /// The parameter.
        name: String,
        /// What happened.
        cause: String,
    },
}

impl ParameterError {
    /// Returns true for [`ParameterError::Transient`]: a later attempt may get the value.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}

/// The parameters, cached for five minutes each.
#[derive(Debug)]
pub struct Parameters {
    http: Client,
    endpoint: Option<Url>,
    region: String,
    signer: Arc<Signer>,
    cache: Mutex<HashMap<String, (SystemTime, Secret)>>,
}

/// The operation's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
}

/// An error of AWS's JSON protocols.
#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "__type")]
    kind: String,
}

impl Parameters {
    /// Creates the cache. It makes no request until the first value is needed.
    pub fn new(config: &Config, http: Client, signer: Arc<Signer>) -> Self {
        let (endpoint, region) = (config.ssm_endpoint.clone(), config.region.clone());
        Self { http, endpoint, region, signer, cache: Mutex::default() }
    }

    /// Returns the value of a parameter, decrypted, from the cache for five minutes after it was asked for. Only
    /// transient errors are tried again. Concurrent callers are not joined: each makes its own request.
    ///
    /// # Errors
    /// Returns `NotFound`, `Refused`, or `Transient` after three tries of 5 s each.
    pub async fn get(&self, name: &str) -> Result<Secret, ParameterError> {
        let now = SystemTime::now();
        if let Some((until, value)) = self.cache().get(name)
            && now < *until
        {
            return Ok(value.clone());
        }
        let mut waits = backoff::waits();
        let value = loop {
            match self.try_get(name).await {
                Ok(value) => break value,
                Err(error) if error.is_transient() => {
                    let Some(wait) = waits.next() else { return Err(error) };
                    tracing::warn!(error = %error, "no parameter yet, trying again");
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        };
        // The cache lives as long as the process, and names may come from table rows.
        let mut cache = self.cache();
        cache.retain(|_, (until, _)| now < *until);
        cache.insert(name.to_owned(), (now + LIFE, value.clone()));
        Ok(value)
    }

    /// Removes `value` from the cache after it was refused, unless a newer one is cached already.
    pub fn forget(&self, name: &str, value: &Secret) {
        let mut cache = self.cache();
        if cache.get(name).is_some_and(|(_, cached)| cached == value) {
            cache.remove(name);
        }
    }

    /// Locks the cache. The lock is never held across an await.
    fn cache(&self) -> MutexGuard<'_, HashMap<String, (SystemTime, Secret)>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a parameter from SSM in one try. It neither reads nor fills the cache. Request and body together may take
    /// 5 s, signing not included.
    ///
    /// # Errors
    /// Returns `NotFound` if the parameter or its version does not exist. Returns `Transient` if the request could not
    /// be signed, had no answer or one without a value, and for throttling, 429 and 5xx. Returns `Refused` for any
    /// other status. An error names SSM's code, or the status if there is no usable code. It never holds the value.
    async fn try_get(&self, name: &str) -> Result<Secret, ParameterError> {
        let transient = |cause: String| ParameterError::Transient { name: name.to_owned(), cause };
        let request = self.signed_request(name).await.map_err(transient)?;
        // The body is part of the try, because a server may answer the head and then hang.
        let answer = tokio::time::timeout(TRY_TIMEOUT, async {
            let response = self.http.execute(request).await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        });
        let (status, body) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(transient(chain(&error.without_url()))),
            Err(_) => return Err(transient(format!("no answer within {} s", TRY_TIMEOUT.as_secs()))),
        };
        if status.is_success() {
            let answer: Option<Answer> = serde_json::from_slice(&body).ok();
            let answer = answer.ok_or_else(|| transient("its answer holds no value".to_owned()))?;
            return Ok(Secret::new(answer.parameter.value));
        }
        let kind = serde_json::from_slice::<ErrorAnswer>(&body).map(|error| error.kind).unwrap_or_default();
        let code = kind.rsplit('#').next().unwrap_or_default();
        let is_code = !code.is_empty() && code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let code = if is_code { code.to_owned() } else { format!("status {status}") };
        let name = name.to_owned();
        Err(match code.as_str() {
            "ParameterNotFound" | "ParameterVersionNotFound" => ParameterError::NotFound(name),
            throttled if THROTTLING.contains(&throttled) => ParameterError::Transient { name, cause: code },
            _ if status.is_server_error() || status.as_u16() == 429 => ParameterError::Transient { name, cause: code },
            _ => ParameterError::Refused { name, code },
        })
    }

    /// Builds and signs the request for a parameter, decrypted, at SSM's address in the function's region or at the one
    /// that the settings name.
    ///
    /// # Errors
    /// The error says why there are no credentials or no signature.
    async fn signed_request(&self, name: &str) -> Result<Request, String> {
        let endpoint = match &self.endpoint {
            Some(url) => url.clone(),
            None => address("ssm", &self.region, Variant::default())?,
        };
        let mut request = Request::new(Method::POST, endpoint);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert(TARGET, HeaderValue::from_static("AmazonSSM.GetParameter"));
        *request.body_mut() = Some(json!({"Name": name, "WithDecryption": true}).to_string().into());
        let key = self.signer.key("ssm", &self.region).await.map_err(|error| error.to_string())?;
        let signature = key.sign(&request, SystemTime::now()).map_err(|error| error.to_string())?;
        request.headers_mut().extend(signature);
        Ok(request)
    }
}
