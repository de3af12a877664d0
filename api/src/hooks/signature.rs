//! Checks who sent a request, over the raw bytes of its body, and signs a test delivery in the same way. It does no
//! I/O.

use agent_trigger::config::Secret;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::hooks::scheme::{Algorithm, Encoding, Hmac, Scheme};

/// The most seconds by which a signed time may differ from the present, in either direction.
pub const TOLERANCE_SECONDS: i64 = 300;
/// The most signatures of one request that are compared. Senders send two while they rotate a secret.
const MOST_SIGNATURES: usize = 10;
/// The text before the bytes of a secret of Standard Webhooks.
const STANDARD_PREFIX: &str = "whsec_";
/// The two families of names of Standard Webhooks' headers: the id, the time and the signatures.
const STANDARD_HEADERS: [[&str; 3]; 2] =
    [["webhook-id", "webhook-timestamp", "webhook-signature"], ["svix-id", "svix-timestamp", "svix-signature"]];

/// The reason why a request is not believed. The sender learns none of them; a receipt holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "camelCase")]
pub enum Distrust {
    /// A header that the scheme needs is missing.
    NoSignature,
    /// A header of the scheme occurs twice, so that two readers might take different ones.
    DuplicateHeader,
    /// A header of the scheme cannot be read.
    MalformedSignature,
    /// The signed time is no whole number of seconds.
    MalformedTimestamp,
    /// The signed time is too far from the present.
    StaleTimestamp,
    /// No signature is one by a live secret.
    WrongSignature,
}

/// A request whose sender is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The delivery's id, if the sender signed it outside the body.
    pub signed_id: Option<String>,
}

/// Checks a request. Each signature is compared with that of each secret, in constant time. `now` is in seconds since
/// 1970.
///
/// # Errors
/// Returns the reason why it is not believed. Without a secret nothing is believed.
pub fn verify(
    scheme: &Scheme,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
) -> Result<Trusted, Distrust> {
    match scheme {
        Scheme::Standard => standard(headers, body, secrets, now),
        Scheme::Github => {
            let given = one(headers, "x-hub-signature-256")?.strip_prefix("sha256=");
            let given = vec![hex(given.ok_or(Distrust::MalformedSignature)?)?];
            compare(secrets, hmac::HMAC_SHA256, &[body], &given)
        }
        Scheme::Slack => {
            let given = one(headers, "x-slack-signature")?.strip_prefix("v0=");
            let given = vec![hex(given.ok_or(Distrust::MalformedSignature)?)?];
            let timestamp = one(headers, "x-slack-request-timestamp")?;
            is_fresh(timestamp, now)?;
            compare(secrets, hmac::HMAC_SHA256, &[b"v0:", timestamp.as_bytes(), b":", body], &given)
        }
        Scheme::Stripe => stripe(headers, body, secrets, now),
        Scheme::Hmac(options) => configured(options, headers, body, secrets, now),
        Scheme::Token { header, prefix, .. } => {
            let given = one(headers, header.as_str())?;
            // The name of the scheme `Bearer` is not case-sensitive (RFC 9110, 11.1).
            let start = given.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix));
            let given = start.map(|_| &given[prefix.len()..]).ok_or(Distrust::MalformedSignature)?;
            is_one_of(secrets.iter().map(|secret| secret.expose().as_bytes().to_vec()), given.as_bytes())
        }
        Scheme::Basic { username } => {
            let given = one(headers, "authorization")?;
            let start = given.get(..6).filter(|start| start.eq_ignore_ascii_case("basic "));
            let given = start.map(|_| given[6..].trim_start()).ok_or(Distrust::MalformedSignature)?;
            let given = STANDARD.decode(given).map_err(|_| Distrust::MalformedSignature)?;
            is_one_of(secrets.iter().map(|secret| format!("{username}:{}", secret.expose()).into_bytes()), &given)
        }
    }
}

/// Returns the headers by which a request with this body, id and time (seconds since 1970) is believed, for a test
/// delivery.
pub fn sign(scheme: &Scheme, secret: &Secret, id: &str, now: i64, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
    let now = now.to_string();
    let hexed = |parts: &[&[u8]]| to_hex(&tag(secret.expose().as_bytes(), hmac::HMAC_SHA256, parts));
    let signed: Vec<(HeaderName, String)> = match scheme {
        Scheme::Standard => {
            let key = standard_key(secret).unwrap_or_default();
            let tag = tag(&key, hmac::HMAC_SHA256, &[id.as_bytes(), b".", now.as_bytes(), b".", body]);
            let [id_name, time_name, signature_name] = STANDARD_HEADERS[0].map(HeaderName::from_static);
            let signature = format!("v1,{}", STANDARD.encode(tag));
            vec![(id_name, id.to_owned()), (time_name, now), (signature_name, signature)]
        }
        Scheme::Github => {
            vec![(HeaderName::from_static("x-hub-signature-256"), format!("sha256={}", hexed(&[body])))]
        }
        Scheme::Slack => {
            let signature = format!("v0={}", hexed(&[b"v0:", now.as_bytes(), b":", body]));
            let name = HeaderName::from_static("x-slack-signature");
            vec![(name, signature), (HeaderName::from_static("x-slack-request-timestamp"), now)]
        }
        Scheme::Stripe => {
            let signature = format!("t={now},v1={}", hexed(&[now.as_bytes(), b".", body]));
            vec![(HeaderName::from_static("stripe-signature"), signature)]
        }
        Scheme::Hmac(options) => {
            let (before, after) = options.around(&now);
            let parts = [before.as_bytes(), body, after.as_bytes()];
            let tag = tag(secret.expose().as_bytes(), options.algorithm.of_hmac(), &parts);
            let tag = match options.encoding {
                Encoding::Hex => to_hex(&tag),
                Encoding::Base64 => STANDARD.encode(tag),
            };
            let signature = (options.header.clone(), format!("{}{tag}", options.prefix));
            let time = options.timestamp.clone().map(|name| (name, now));
            [signature].into_iter().chain(time).collect()
        }
        Scheme::Token { header, prefix, .. } => vec![(header.clone(), format!("{prefix}{}", secret.expose()))],
        Scheme::Basic { username } => {
            let pair = STANDARD.encode(format!("{username}:{}", secret.expose()));
            vec![(HeaderName::from_static("authorization"), format!("Basic {pair}"))]
        }
    };
    // A secret that no header can hold was refused when it was stored.
    signed.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?))).collect()
}

/// Returns what is wrong with a secret for a scheme, or `None`. It must have 8 to 512 visible ASCII characters. One of
/// Standard Webhooks must be `whsec_` and 24 to 64 bytes in base64.
pub fn problem_of(scheme: &Scheme, secret: &Secret) -> Option<&'static str> {
    let text = secret.expose();
    if !(8..=512).contains(&text.len()) || !text.bytes().all(|byte| (33..127).contains(&byte)) {
        return Some("must have 8 to 512 visible ASCII characters");
    }
    // The specification asks for 24 to 64 bytes.
    let is_key = || standard_key(secret).is_some_and(|key| (24..=64).contains(&key.len()));
    (*scheme == Scheme::Standard && !is_key()).then_some("must be whsec_ and 24 to 64 bytes in base64")
}

/// Checks a request of Standard Webhooks or Svix: the id, the time and the body are signed together. At most ten
/// signatures are compared.
///
/// # Errors
/// Returns the reason why it is not believed.
fn standard(headers: &HeaderMap, body: &[u8], secrets: &[Secret], now: i64) -> Result<Trusted, Distrust> {
    let family = STANDARD_HEADERS.iter().find(|names| headers.contains_key(names[2]));
    let [id, timestamp, signature] = family.ok_or(Distrust::NoSignature)?;
    let (id, timestamp, signatures) = (one(headers, id)?, one(headers, timestamp)?, one(headers, signature)?);
    // With a dot in the id, the same signed text would have several readings.
    if id.is_empty() || id.len() > 256 || id.contains('.') {
        return Err(Distrust::MalformedSignature);
    }
    is_fresh(timestamp, now)?;
    // Signatures of other versions, `v1a` for public keys, stand among them.
    let given = signatures.split(' ').filter_map(|part| part.strip_prefix("v1,"));
    let given = given.take(MOST_SIGNATURES).map(|part| STANDARD.decode(part).unwrap_or_default()).collect();
    let keys: Vec<_> = secrets.iter().filter_map(standard_key).collect();
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    compare_keys(&keys, hmac::HMAC_SHA256, &parts, &given)?;
    Ok(Trusted { signed_id: Some(id.to_owned()) })
}

/// Returns the key of a secret of Standard Webhooks: the bytes after `whsec_`, in strict base64. Returns `None` for any
/// other text.
fn standard_key(secret: &Secret) -> Option<Vec<u8>> {
    STANDARD.decode(secret.expose().strip_prefix(STANDARD_PREFIX)?).ok()
}

/// Checks a request of Stripe: the time and the body are signed together. At most ten signatures are compared.
///
/// # Errors
/// Returns the reason why it is not believed.
fn stripe(headers: &HeaderMap, body: &[u8], secrets: &[Secret], now: i64) -> Result<Trusted, Distrust> {
    let header = one(headers, "stripe-signature")?;
    let members = || header.split(',').map(|part| part.trim().split_once('=').unwrap_or_default());
    let mut times = members().filter(|(name, _)| *name == "t").map(|(_, value)| value);
    let timestamp = times.next().ok_or(Distrust::MalformedSignature)?;
    if times.next().is_some() {
        return Err(Distrust::MalformedSignature);
    }
    is_fresh(timestamp, now)?;
    let given = members().filter(|(name, _)| *name == "v1").take(MOST_SIGNATURES);
    let given = given.map(|(_, value)| hex(value).unwrap_or_default()).collect();
    compare(secrets, hmac::HMAC_SHA256, &[timestamp.as_bytes(), b".", body], &given)
}

/// Checks a request by the options of [`Preset::Hmac`].
///
/// # Errors
/// Returns the reason why it is not believed.
fn configured(
    options: &Hmac,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
) -> Result<Trusted, Distrust> {
    let given = one(headers, options.header.as_str())?.strip_prefix(&options.prefix);
    let given = given.ok_or(Distrust::MalformedSignature)?;
    let given = match options.encoding {
        Encoding::Hex => hex(given)?,
        Encoding::Base64 => STANDARD.decode(given).map_err(|_| Distrust::MalformedSignature)?,
    };
    let timestamp = match &options.timestamp {
        Some(name) => {
            let timestamp = one(headers, name.as_str())?;
            is_fresh(timestamp, now)?;
            timestamp
        }
        None => "",
    };
    let (before, after) = options.around(timestamp);
    compare(secrets, options.algorithm.of_hmac(), &[before.as_bytes(), body, after.as_bytes()], &vec![given])
}

impl Hmac {
    /// Returns the signed text before the body, and that after it.
    fn around(&self, timestamp: &str) -> (String, String) {
        let (before, after) = &self.around;
        (before.replace("{timestamp}", timestamp), after.replace("{timestamp}", timestamp))
    }
}

impl Algorithm {
    /// Returns the HMAC of the hash function.
    fn of_hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// Returns the only value of a header.
///
/// # Errors
/// Returns `NoSignature` if it is missing, `DuplicateHeader` if it came twice, and `MalformedSignature` if it is no
/// text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Distrust> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Distrust::NoSignature)?;
    if values.next().is_some() {
        return Err(Distrust::DuplicateHeader);
    }
    value.to_str().map_err(|_| Distrust::MalformedSignature)
}

/// Checks that a time is a whole number of seconds, in digits alone, and differs from `now` by at most 300 s.
///
/// # Errors
/// `MalformedTimestamp` or `StaleTimestamp`.
fn is_fresh(timestamp: &str, now: i64) -> Result<(), Distrust> {
    let is_whole = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let at: i64 = timestamp.parse().ok().filter(|_| is_whole).ok_or(Distrust::MalformedTimestamp)?;
    if (now - at).abs() <= TOLERANCE_SECONDS { Ok(()) } else { Err(Distrust::StaleTimestamp) }
}

/// Compares each signature with that of each secret, whose text is the key, as [`compare_keys`] does.
fn compare(
    secrets: &[Secret],
    algorithm: hmac::Algorithm,
    parts: &[&[u8]],
    given: &Vec<Vec<u8>>,
) -> Result<Trusted, Distrust> {
    let keys: Vec<_> = secrets.iter().map(|secret| secret.expose().as_bytes().to_vec()).collect();
    compare_keys(&keys, algorithm, parts, given)
}

/// Compares each signature with that of each key over the `parts`. All pairs are compared, so that the time tells
/// nothing about which one was right. Empty keys are left out.
///
/// # Errors
/// Returns `MalformedSignature` if no signature is given, and `WrongSignature` if none is right.
fn compare_keys(
    keys: &[Vec<u8>],
    algorithm: hmac::Algorithm,
    parts: &[&[u8]],
    given: &Vec<Vec<u8>>,
) -> Result<Trusted, Distrust> {
    if given.is_empty() {
        return Err(Distrust::MalformedSignature);
    }
    let mut is_right = false;
    for key in keys.iter().filter(|key| !key.is_empty()) {
        let expected = tag(key, algorithm, parts);
        for given in given {
            is_right |= verify_slices_are_equal(given, &expected).is_ok();
        }
    }
    if is_right { Ok(Trusted { signed_id: None }) } else { Err(Distrust::WrongSignature) }
}

/// Compares a text with each of the accepted ones. Their hashes under a key of this call are compared, so that the time
/// tells nothing, the length neither.
///
/// # Errors
/// Returns `WrongSignature` if it is none of them, or if there are no random bytes for the key.
fn is_one_of(accepted: impl Iterator<Item = Vec<u8>>, given: &[u8]) -> Result<Trusted, Distrust> {
    let mut key = [0; 32];
    // Without random bytes nothing can be compared in safety.
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Distrust::WrongSignature)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let given = hmac::sign(&key, given);
    let mut is_right = false;
    for accepted in accepted {
        is_right |= hmac::verify(&key, &accepted, given.as_ref()).is_ok();
    }
    if is_right { Ok(Trusted { signed_id: None }) } else { Err(Distrust::WrongSignature) }
}

/// Returns the HMAC of the `parts`, one after the other, under `key`.
fn tag(key: &[u8], algorithm: hmac::Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

/// Returns the bytes of hexadecimal digits in either case.
///
/// # Errors
/// Returns `MalformedSignature` for an odd number of digits and any other character.
fn hex(text: &str) -> Result<Vec<u8>, Distrust> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or(Distrust::MalformedSignature)
}

/// Returns bytes as lower-case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
