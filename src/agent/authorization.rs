//! The proof of the caller's identity, ready for the requests of a call.

use std::{fmt, sync::Arc};

use reqwest::{
    Request,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};

use crate::{agent::error::AgentError, config::Secret};

/// Signs a request: returns the headers to add.
pub type Sign = Arc<dyn Fn(&Request) -> Result<HeaderMap, String> + Send + Sync>;

/// The proof that is added to every request of a call.
#[derive(Clone)]
pub enum Authorization {
    /// Nothing.
    None,
    /// A bearer token.
    Bearer(Secret),
    /// A header with a secret value.
    Header(HeaderName, Secret),
    /// A signature. It covers the body and the time, so each request is signed on its own.
    Signature(Sign),
}

impl Authorization {
    /// Adds it to `request`, whose headers and body must be complete, because a signature covers them. A header of the
    /// same name is replaced.
    ///
    /// # Errors
    /// Returns an error if a value cannot stand in a header, or the request cannot be signed.
    pub(super) fn add_to(&self, request: &mut Request) -> Result<(), AgentError> {
        let headers = match self {
            Self::None => HeaderMap::new(),
            Self::Bearer(token) => {
                HeaderMap::from_iter([(AUTHORIZATION, value(&format!("Bearer {}", token.expose()))?)])
            }
            Self::Header(name, secret) => HeaderMap::from_iter([(name.clone(), value(secret.expose())?)]),
            Self::Signature(sign) => sign(request).map_err(AgentError::Request)?,
        };
        request.headers_mut().extend(headers);
        Ok(())
    }

    /// Returns the secret that must be masked in the agent's words. A signature has none, because it is of no use after
    /// its request.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::Bearer(secret) | Self::Header(_, secret) => Some(secret.expose()),
            Self::None | Self::Signature(_) => None,
        }
    }
}

/// Returns the proof that is the header `name` with a secret value. White space at its end, which an editor may leave
/// in a parameter, is not sent.
///
/// # Errors
/// Returns an error if the name or the value cannot stand in a header.
pub fn header(name: &str, secret: Secret) -> Result<Authorization, AgentError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| AgentError::Request(error.to_string()))?;
    value(secret.expose())?;
    Ok(Authorization::Header(name, secret))
}

/// Returns a secret as a header's value, without the white space at its end, and marked so that it is not logged.
///
/// # Errors
/// Returns an error if it cannot stand in a header. The error does not show it.
fn value(text: &str) -> Result<HeaderValue, AgentError> {
    let unsendable = |_| AgentError::Request("the secret cannot stand in a header".to_owned());
    let mut value = HeaderValue::from_str(text.trim_end()).map_err(unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Shows the kind alone.
impl fmt::Debug for Authorization {
    /// Writes the kind alone, and nothing of a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer",
            Self::Header(..) => "Header",
            Self::Signature(_) => "Signature",
        })
    }
}
