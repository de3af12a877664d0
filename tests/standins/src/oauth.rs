//! The token endpoint's side of OAuth: it reads a request and checks it.

use std::collections::HashMap;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::cognito::{CLIENT_ID, SCOPE};

/// A token request as it was received.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The Authorization header.
    pub authorization: Option<String>,
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The body's fields, decoded.
    pub form: HashMap<String, String>,
}

impl TokenRequest {
    /// RFC 6749 §5.2, with Cognito's status 400 for every error.
    pub(crate) fn check(&self, secret: &str) -> Result<(), &'static str> {
        let form_type = "application/x-www-form-urlencoded";
        if !self.content_type.as_deref().is_some_and(|t| t.to_ascii_lowercase().starts_with(form_type)) {
            return Err("invalid_request");
        }
        let basic = self.authorization.as_deref().and_then(|a| a.strip_prefix("Basic ")).ok_or("invalid_client")?;
        let credentials = BASE64_STANDARD.decode(basic).map_err(|_| "invalid_client")?;
        if secret.is_empty() || credentials != format!("{CLIENT_ID}:{}", secret).as_bytes() {
            return Err("invalid_client");
        }
        match self.form.get("grant_type").map(String::as_str) {
            Some("client_credentials") => {}
            Some(_) => return Err("unsupported_grant_type"),
            None => return Err("invalid_request"),
        }
        match self.form.get("scope") {
            Some(scope) if scope.split(' ').any(|scope| scope != SCOPE) => Err("invalid_scope"),
            _ => Ok(()),
        }
    }
}

/// Returns the fields of a form, decoded.
pub(crate) fn form(body: &str) -> HashMap<String, String> {
    let pairs = body.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| text_hex(tail)).flatten();
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text_hex(tail: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(tail.get(..2)?).ok()?, 16).ok()
}
