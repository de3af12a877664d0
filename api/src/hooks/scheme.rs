//! The schemes by which a sender proves who it is, as `webhookConfig` names them. There is no scheme that proves
//! nothing.

use axum::http::{HeaderName, header::AUTHORIZATION};
use serde_json::{Map, Value, json};

use crate::hooks::event::is_shown;

/// The longest text of an option, in bytes.
const LONGEST_OPTION: usize = 256;
/// Headers that no option may name: they are not the sender's alone, or are read already.
const TAKEN: [&str; 7] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "cookie", "x-forwarded-for"];

/// The option that names the header of a delivery's id. Each preset whose senders sign no id has it.
const ID_HEADER: (&str, &str) = (
    "idHeader",
    "The header with the id of a delivery, which stays the same when it is sent again. Default: Idempotency-Key.",
);
/// The option with the status of an accepted delivery, for the same presets.
const ACCEPTED_STATUS: (&str, &str) =
    ("acceptedStatus", "200 or 202, the status of an answer that accepts a delivery. Default: 202.");

/// The presets, by their names in `webhookConfig.preset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Preset {
    /// Standard Webhooks, and Svix. <https://github.com/standard-webhooks/standard-webhooks>
    Standard,
    /// GitHub. <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
    Github,
    /// Slack. <https://docs.slack.dev/authentication/verifying-requests-from-slack>
    Slack,
    /// Stripe. <https://docs.stripe.com/webhooks/signature>
    Stripe,
    /// A HMAC in a header of one's own.
    Hmac,
    /// The secret itself in a header.
    Token,
    /// The secret as a bearer token.
    Bearer,
    /// The secret as the password of HTTP's basic authentication.
    Basic,
}

impl Preset {
    /// Returns the name as items hold it, in lower case.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the `WWW-Authenticate` of the answer to a sender that is not believed, or `None` for a preset that is
    /// none of HTTP's own. <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>
    pub fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Bearer => Some("Bearer"),
            Self::Basic => Some("Basic realm=\"webhook\""),
            _ => None,
        }
    }

    /// Returns the options that the preset knows, with a sentence about each.
    pub fn options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Standard | Self::Github | Self::Slack | Self::Stripe => &[],
            Self::Bearer => &[ID_HEADER, ACCEPTED_STATUS],
            Self::Hmac => &[
                ("header", "The header that holds the signature. Default: X-Signature."),
                ("prefix", "The text before the signature, such as sha256=. Default: none."),
                ("encoding", "hex or base64. Default: hex."),
                ("algorithm", "sha256 or sha512. Default: sha256."),
                ("timestampHeader", "The header that holds the time in seconds since 1970, if the sender signs one."),
                (
                    "signedContent",
                    "What is signed. It holds {body} once, and {timestamp} if there is a timestampHeader. Default: \
                     {timestamp}.{body}, or {body}.",
                ),
                ID_HEADER,
                ACCEPTED_STATUS,
            ],
            Self::Token => &[
                ("header", "The header that holds the secret. Default: X-Webhook-Token."),
                ("prefix", "The text before the secret. Default: none."),
                ID_HEADER,
                ACCEPTED_STATUS,
            ],
            Self::Basic => &[("username", "The user name. Required."), ID_HEADER, ACCEPTED_STATUS],
        }
    }
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// A notation of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Encoding {
    /// Two digits for each byte, in either case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// The options of [`Preset::Hmac`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// The header that holds the signature.
    pub header: HeaderName,
    /// The text before the signature.
    pub prefix: String,
    /// Its notation.
    pub encoding: Encoding,
    /// The hash function.
    pub algorithm: Algorithm,
    /// The header that holds the time.
    pub timestamp: Option<HeaderName>,
    /// The text before the body in what is signed, and the text after it, each with `{timestamp}` in it or not.
    pub around: (String, String),
}

/// A preset with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// [`Preset::Standard`]
    Standard,
    /// [`Preset::Github`]
    Github,
    /// [`Preset::Slack`]
    Slack,
    /// [`Preset::Stripe`]
    Stripe,
    /// [`Preset::Hmac`]
    Hmac(Box<Hmac>),
    /// [`Preset::Token`] or [`Preset::Bearer`]: the header, and the text before the secret in it.
    Token {
        /// The preset, which is the only difference.
        preset: Preset,
        /// The header.
        header: HeaderName,
        /// The text before the secret.
        prefix: String,
    },
    /// [`Preset::Basic`]
    Basic {
        /// The user name.
        username: String,
    },
}

impl Scheme {
    /// Returns the preset.
    pub fn preset(&self) -> Preset {
        match self {
            Self::Standard => Preset::Standard,
            Self::Github => Preset::Github,
            Self::Slack => Preset::Slack,
            Self::Stripe => Preset::Stripe,
            Self::Hmac(_) => Preset::Hmac,
            Self::Token { preset, .. } => *preset,
            Self::Basic { .. } => Preset::Basic,
        }
    }

    /// Returns the header of the secret or the signature, or `None` for the presets whose senders have names of their
    /// own for it.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Standard | Self::Github | Self::Slack | Self::Stripe => None,
            Self::Hmac(hmac) => Some(&hmac.header),
            Self::Token { header, .. } => Some(header),
            Self::Basic { .. } => Some(&AUTHORIZATION),
        }
    }

    /// Reads a `webhookConfig`. Without a `preset` it is [`Preset::Standard`]. Each problem is added with the name of
    /// its member, an option that the preset does not have among them. An unknown preset is the only problem added.
    /// Returns `None` if `problems` are not empty then.
    pub fn read(config: &Map<String, Value>, problems: &mut Vec<(String, String)>) -> Option<Self> {
        let mut options = Options { config, problems };
        let preset: Preset = match options.text("preset") {
            None => Preset::Standard,
            Some(name) => {
                let known = name.parse().ok();
                if known.is_none() {
                    let names = <Preset as strum::VariantArray>::VARIANTS.iter().map(|preset| preset.as_str());
                    options.problem("preset", format!("must be one of {}", names.collect::<Vec<_>>().join(", ")));
                }
                known?
            }
        };
        options.refuse_others(preset);
        let scheme = match preset {
            Preset::Standard => Self::Standard,
            Preset::Github => Self::Github,
            Preset::Slack => Self::Slack,
            Preset::Stripe => Self::Stripe,
            Preset::Hmac => Self::Hmac(Box::new(options.hmac())),
            Preset::Token => Self::Token {
                preset,
                header: options.header("header").unwrap_or(HeaderName::from_static("x-webhook-token")),
                prefix: options.text("prefix").unwrap_or_default(),
            },
            Preset::Bearer => {
                Self::Token { preset, header: HeaderName::from_static("authorization"), prefix: "Bearer ".to_owned() }
            }
            Preset::Basic => {
                let username = options.text("username").filter(|name| !name.is_empty() && !name.contains(':'));
                if username.is_none() {
                    options.problem("username", "is required, and must not hold a colon".to_owned());
                }
                Self::Basic { username: username.unwrap_or_default() }
            }
        };
        options.problems.is_empty().then_some(scheme)
    }
}

/// The presets as `GET /providers` shows them.
pub fn providers() -> Vec<Value> {
    let option = |(name, description): &(&str, &str)| json!({"name": name, "description": description});
    let provider = |preset: &Preset| {
        let options: Vec<Value> = preset.options().iter().map(option).collect();
        json!({"id": preset.as_str(), "options": options})
    };
    <Preset as strum::VariantArray>::VARIANTS.iter().map(provider).collect()
}

/// The options in a `webhookConfig`.
pub(super) struct Options<'a> {
    pub(super) config: &'a Map<String, Value>,
    pub(super) problems: &'a mut Vec<(String, String)>,
}

impl Options<'_> {
    /// Adds a problem of the member `name`.
    pub(super) fn problem(&mut self, name: &str, problem: String) {
        self.problems.push((name.to_owned(), problem));
    }

    /// Returns a text of at most 256 bytes of visible ASCII and spaces, or `None` if it is absent or null. Anything
    /// else is a problem, and `None`.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.config.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text))
                if text.len() <= LONGEST_OPTION && text.bytes().all(|b| (32..127).contains(&b)) =>
            {
                Some(text.clone())
            }
            Some(_) => {
                self.problem(name, format!("must be a string of at most {LONGEST_OPTION} visible ASCII characters"));
                None
            }
        }
    }

    /// Returns an option that names a header, or `None` if it is absent. A name that is none, that HTTP or the API uses
    /// itself, or under which the secret would be shown, is a problem, and `None`.
    pub(super) fn header(&mut self, name: &str) -> Option<HeaderName> {
        let text = self.text(name)?;
        let header = HeaderName::from_bytes(text.as_bytes()).ok().filter(|header| !TAKEN.contains(&header.as_str()));
        // The secret or the signature would stand in the event, in the prompt and in receipts. A time may.
        let header = header.filter(|header| name != "header" || !is_shown(header.as_str()));
        if header.is_none() {
            self.problem(name, "must be the name of a header that the sender sets for this alone".to_owned());
        }
        header
    }

    /// Returns an option that is one of a few words, or `default` if it is absent. Another word is a problem, and
    /// `default`. `words` lists them for the problem.
    fn word<T: std::str::FromStr>(&mut self, name: &str, default: T, words: &str) -> T {
        let Some(text) = self.text(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.problem(name, format!("must be {words}"));
            default
        })
    }

    /// Reads the options of [`Preset::Hmac`]. An option with a problem has its default. `signedContent` must hold
    /// `{body}` once, and `{timestamp}` if and only if there is a header for it.
    fn hmac(&mut self) -> Hmac {
        let timestamp = self.header("timestampHeader");
        let default = if timestamp.is_some() { "{timestamp}.{body}" } else { "{body}" };
        let signed = self.text("signedContent").unwrap_or_else(|| default.to_owned());
        let parts: Vec<&str> = signed.split("{body}").collect();
        let has_timestamp = signed.contains("{timestamp}");
        let around = match parts[..] {
            [before, after] if has_timestamp == timestamp.is_some() => (before.to_owned(), after.to_owned()),
            _ => {
                let problem = "must hold {body} once, and {timestamp} if and only if there is a timestampHeader";
                self.problem("signedContent", problem.to_owned());
                Default::default()
            }
        };
        Hmac {
            header: self.header("header").unwrap_or(HeaderName::from_static("x-signature")),
            prefix: self.text("prefix").unwrap_or_default(),
            encoding: self.word("encoding", Encoding::Hex, "hex or base64"),
            algorithm: self.word("algorithm", Algorithm::Sha256, "sha256 or sha512"),
            timestamp,
            around,
        }
    }

    /// Adds a problem for each option that is set and that only other presets have: ignored, it would seem to protect.
    fn refuse_others(&mut self, preset: Preset) {
        let known = |name: &str| preset.options().iter().any(|(known, _)| *known == name);
        let others = <Preset as strum::VariantArray>::VARIANTS.iter().flat_map(|preset| preset.options());
        let mut refused: Vec<&str> = others.map(|(name, _)| *name).collect();
        refused.sort_unstable();
        refused.dedup();
        for name in refused {
            if self.config.get(name).is_some_and(|value| !value.is_null()) && !known(name) {
                self.problem(name, format!("is no option of the preset {}", preset.as_str()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Value) -> Result<Scheme, Vec<String>> {
        let mut problems = Vec::new();
        let scheme = Scheme::read(config.as_object().unwrap(), &mut problems);
        scheme.ok_or_else(|| problems.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn a_preset_has_its_options_and_no_others() {
        assert_eq!(read(json!({})), Ok(Scheme::Standard));
        assert_eq!(read(json!({"preset": "slack"})), Ok(Scheme::Slack));
        for (config, names) in [
            (json!({"preset": "none"}), vec!["preset"]),
            (json!({"preset": 7}), vec!["preset"]),
            (json!({"preset": "github", "header": "x"}), vec!["header"]),
            (json!({"preset": "basic"}), vec!["username"]),
            (json!({"preset": "basic", "username": "a:b"}), vec!["username"]),
            (json!({"preset": "token", "header": "a b"}), vec!["header"]),
            (json!({"preset": "token", "header": "Cookie"}), vec!["header"]),
            // Events keep these, and receipts show them.
            (json!({"preset": "token", "header": "X-Request-Id"}), vec!["header"]),
            (json!({"preset": "hmac", "header": "Linear-Delivery"}), vec!["header"]),
            (json!({"preset": "hmac", "encoding": "HEX", "algorithm": "md5"}), vec!["encoding", "algorithm"]),
            (json!({"preset": "hmac", "signedContent": "{timestamp}.{body}"}), vec!["signedContent"]),
            (json!({"preset": "hmac", "timestampHeader": "x-time", "signedContent": "{body}"}), vec!["signedContent"]),
            (json!({"preset": "hmac", "signedContent": "{body}{body}"}), vec!["signedContent"]),
            (json!({"preset": "github", "idHeader": "x-id"}), vec!["idHeader"]),
            (json!({"preset": "stripe", "acceptedStatus": 200}), vec!["acceptedStatus"]),
        ] {
            assert_eq!(read(config.clone()), Err(names.into_iter().map(str::to_owned).collect()), "{config}");
        }
    }

    #[test]
    fn a_hmac_is_as_configured() {
        let config = json!({"preset": "hmac", "header": "X-Sig", "prefix": "v0=", "encoding": "base64",
            "algorithm": "sha512", "timestampHeader": "X-Time", "signedContent": "v0:{timestamp}:{body}"});
        let Ok(Scheme::Hmac(hmac)) = read(config) else { panic!("a HMAC") };
        assert_eq!((hmac.header.as_str(), hmac.prefix.as_str()), ("x-sig", "v0="));
        assert_eq!((hmac.encoding, hmac.algorithm), (Encoding::Base64, Algorithm::Sha512));
        assert_eq!(hmac.timestamp.as_ref().map(HeaderName::as_str), Some("x-time"));
        assert_eq!(hmac.around, ("v0:{timestamp}:".to_owned(), String::new()));
    }
}
