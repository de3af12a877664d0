//! Verifies the signature of a request to AWS (SigV4), written by hand from the documentation: a stand-in that shares the
//! function's own crate would grade itself.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The caller that may sign, and the service it may sign for.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The access key's id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// The session token that temporary credentials have.
    pub session_token: Option<String>,
    /// The region.
    pub region: String,
    /// The service.
    pub service: String,
    /// The greatest difference between the request's time and now. `None` accepts any time.
    pub tolerance: Option<Duration>,
}

/// A request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The method.
    pub method: &'a str,
    /// The path with the query.
    pub path: &'a str,
    /// All headers.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
}

impl Signed<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Verifier {
    /// Verifies the signature.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self, request: Signed<'_>) -> Result<(), String> {
        let authorization = request.header("authorization").ok_or("there is no Authorization header")?;
        let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("it is signed by another algorithm")?;
        let part = |name: &str| {
            let mut parts = parts.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).ok_or(format!("it has no {name}"))
        };
        let (credential, signed, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
        let time = request.header("x-amz-date").ok_or("there is no X-Amz-Date")?;
        let day = time.get(..8).ok_or("X-Amz-Date is too short")?;
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        if credential != format!("{}/{scope}", self.access_key) {
            return Err(format!("its scope is {credential}, not {}/{scope}", self.access_key));
        }
        if let Some(tolerance) = self.tolerance {
            let at = seconds(time).ok_or("X-Amz-Date is no time")?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            if now.abs_diff(at) > tolerance.as_secs() {
                return Err(format!("it was signed at {time}, which is not now"));
            }
        }
        if request.header("x-amz-security-token") != self.session_token.as_deref() {
            return Err("its session token is not that of the credentials".to_owned());
        }
        let names: Vec<_> = signed.split(';').collect();
        let must =
            ["host", "x-amz-date"].into_iter().chain(self.session_token.as_ref().map(|_| "x-amz-security-token"));
        for name in must {
            if !names.contains(&name) {
                return Err(format!("{name} is not signed"));
            }
        }
        let canonical = canonical(request, &names)?;
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mut key = mac(format!("AWS4{}", self.secret_key).as_bytes(), day);
        for step in [&self.region, &self.service, "aws4_request"] {
            key = mac(&key, step);
        }
        let expected = hex(&mac(&key, &to_sign));
        if signature == expected { Ok(()) } else { Err(format!("its signature is {signature}, not {expected}")) }
    }
}

/// Returns the canonical request. The path is encoded once more than it was sent, as all services but S3 have it.
fn canonical(request: Signed<'_>, names: &[&str]) -> Result<String, String> {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    let mut pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let pairs = pairs.iter().map(|pair| if pair.contains('=') { (*pair).to_owned() } else { format!("{pair}=") });
    let query = pairs.collect::<Vec<_>>().join("&");
    let mut lines = String::new();
    for name in names {
        let value = request.header(name).ok_or(format!("{name} is signed and not sent"))?;
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(lines, "{name}:{value}");
    }
    let body = hex(&Sha256::digest(request.body));
    Ok(format!("{}\n{encoded}\n{query}\n{lines}\n{}\n{body}", request.method, names.join(";")))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the seconds since 1970 of a time such as `20260131T070000Z`.
fn seconds(time: &str) -> Option<u64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    // Days since 1970 (Howard Hinnant, days_from_civil).
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + number(9, 11)? * 3600 + number(11, 13)? * 60 + number(13, 15)?;
    u64::try_from(seconds).ok()
}
