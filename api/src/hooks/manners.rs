//! The id and the answer of deliveries whose senders sign no id, as `webhookConfig` configures them.

use axum::http::{HeaderName, StatusCode, header::AUTHORIZATION};
use serde_json::{Map, Value};

use crate::hooks::{
    event::repeats_itself,
    scheme::{Options, Scheme},
};

/// How a hook knows a delivery again, and answers one that it accepts. The presets whose senders sign an id have no
/// options for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manners {
    /// The header that names a delivery whose sender signs no id. `None` if the configured one says the same in other
    /// deliveries: by it all of these would be one.
    pub id_header: Option<HeaderName>,
    /// The status of an answer that accepts a delivery. Some senders take any other than 200 for a failure, and send
    /// again.
    pub accepted: StatusCode,
}

impl Default for Manners {
    /// Returns the manners of a hook that configures none: the header `Idempotency-Key`, and 202.
    fn default() -> Self {
        Self { id_header: Some(HeaderName::from_static("idempotency-key")), accepted: StatusCode::ACCEPTED }
    }
}

impl Manners {
    /// Reads the options `idHeader` and `acceptedStatus` of a `webhookConfig`. Each problem is added with the name of
    /// its member, and the member then has its default. A header of the scheme's own, `Authorization`, and one that
    /// repeats itself are no problem here: `id_header` is `None` then.
    pub fn read(config: &Map<String, Value>, scheme: Option<&Scheme>, problems: &mut Vec<(String, String)>) -> Self {
        let mut options = Options { config, problems };
        let mut manners = Self::default();
        if let Some(header) = options.header("idHeader") {
            manners.id_header = Some(header);
        }
        manners.id_header = manners.id_header.filter(|header| {
            let is_of_scheme = scheme.and_then(Scheme::header) == Some(header);
            let is_time = matches!(scheme, Some(Scheme::Hmac(hmac)) if hmac.timestamp.as_ref() == Some(header));
            !(is_of_scheme || is_time || *header == AUTHORIZATION || repeats_itself(header.as_str()))
        });
        match config.get("acceptedStatus") {
            None | Some(Value::Null) => {}
            // The page sends texts.
            Some(status) if *status == 202 || *status == "202" => {}
            Some(status) if *status == 200 || *status == "200" => manners.accepted = StatusCode::OK,
            Some(_) => options.problem("acceptedStatus", "must be 200 or 202".to_owned()),
        }
        manners
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The rows: the options beside a preset, and what is read, or the member with a problem.
    #[test]
    fn a_delivery_is_known_and_answered_as_configured() {
        let read = |config: &Value| {
            let (config, mut problems) = (config.as_object().unwrap(), Vec::new());
            let scheme = Scheme::read(config, &mut problems);
            let Manners { id_header, accepted } = Manners::read(config, scheme.as_ref(), &mut problems);
            match (problems.first(), id_header) {
                (Some((name, _)), _) => Err(name.clone()),
                (None, None) => Err("idHeader".to_owned()),
                (None, Some(header)) => Ok((header.to_string(), accepted.as_u16())),
            }
        };
        for (config, expected) in [
            (json!({"preset": "hmac"}), Ok(("idempotency-key", 202))),
            (
                json!({"preset": "hmac", "idHeader": "Linear-Delivery", "acceptedStatus": 200}),
                Ok(("linear-delivery", 200)),
            ),
            (json!({"preset": "token", "acceptedStatus": "200"}), Ok(("idempotency-key", 200))),
            (json!({"preset": "bearer", "idHeader": null, "acceptedStatus": "202"}), Ok(("idempotency-key", 202))),
            (json!({"preset": "basic", "username": "u", "acceptedStatus": 204}), Err("acceptedStatus")),
            (json!({"preset": "token", "acceptedStatus": true}), Err("acceptedStatus")),
            (json!({"preset": "token", "idHeader": "a b"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "X-Webhook-Token"}), Err("idHeader")),
            (json!({"preset": "hmac", "header": "x-sig", "idHeader": "X-Sig"}), Err("idHeader")),
            (json!({"preset": "bearer", "idHeader": "Authorization"}), Err("idHeader")),
            (json!({"preset": "basic", "username": "u", "idHeader": "authorization"}), Err("idHeader")),
            (json!({"preset": "hmac", "timestampHeader": "x-time", "idHeader": "X-Time"}), Err("idHeader")),
            (json!({"preset": "hmac", "timestampHeader": "Idempotency-Key"}), Err("idHeader")),
            (json!({"preset": "hmac", "idHeader": "Authorization"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "Origin"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "Accept-Id"}), Ok(("accept-id", 202))),
            (json!({"preset": "token", "idHeader": "User-Agent"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "X-Gitlab-Webhook-UUID"}), Err("idHeader")),
            (json!({"preset": "hmac", "idHeader": "X-Shopify-Topic"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "X-Forwarded-Proto"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "Accept"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "Accept-Language"}), Err("idHeader")),
            (json!({"preset": "token", "idHeader": "Viadukt-Delivery"}), Ok(("viadukt-delivery", 202))),
            (json!({"preset": "token", "idHeader": "X-Gitlab-Event-UUID"}), Ok(("x-gitlab-event-uuid", 202))),
            (json!({"preset": "hmac", "idHeader": "X-Shopify-Event-Id"}), Ok(("x-shopify-event-id", 202))),
            (json!({"preset": "github", "acceptedStatus": 200}), Err("acceptedStatus")),
        ] {
            let expected = expected.map(|(name, status)| (name.to_owned(), status)).map_err(str::to_owned);
            assert_eq!(read(&config), expected, "{config}");
        }
    }
}
