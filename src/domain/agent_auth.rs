//! The proof of identity that an agent's requests bear, as its definition says it.

use serde_json::{Map, Value};

use crate::json::fields::{Fields, member};

/// The headers that a definition must not set, because the function or HTTP sets them. A name that ends in `-` stands
/// for every header that begins with it.
const RESERVED_HEADERS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-",
    "upgrade",
    "x-amz-",
    "x-amzn-bedrock-agentcore-runtime-session-",
    "x-amzn-trace-id",
];

/// The proof of identity that an agent's requests bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAuth {
    /// A bearer token of the machine user, from Cognito.
    Cognito,
    /// A signature by the function's role (SigV4, service `bedrock-agentcore`).
    Iam,
    /// Nothing.
    None,
    /// A header whose value is an SSM parameter's.
    Secret {
        /// The header's name, in lower case.
        header: String,
        /// The parameter's name.
        parameter: String,
    },
}

impl AgentAuth {
    /// Returns the kind of proof as one word: `cognito`, `iam`, `none` or `secret`. The word does not hold a secret's
    /// header and parameter.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cognito => "cognito",
            Self::Iam => "iam",
            Self::None => "none",
            Self::Secret { .. } => "secret",
        }
    }

    /// Reads the member `name`: one of the words `cognito`, `iam` and `none`, or `{"secret": {"header": …, "parameter":
    /// …}}`. The outer object must have `secret` alone, and its value must be an object. Unknown members within
    /// `secret` are ignored. A member that is absent or null means Cognito. Anything else adds a problem to `fields`
    /// and returns `None`.
    pub(crate) fn read(fields: &mut Fields<'_>, name: &str) -> Option<Self> {
        const FORM: &str = "must be \"cognito\", \"iam\", \"none\" or {\"secret\": {\"header\": …, \"parameter\": …}}";
        match fields.value(name).cloned() {
            None => Some(Self::Cognito),
            Some(Value::String(word)) => match word.as_str() {
                "cognito" => Some(Self::Cognito),
                "iam" => Some(Self::Iam),
                "none" => Some(Self::None),
                _ => {
                    fields.problem(name, FORM);
                    None
                }
            },
            Some(Value::Object(auth)) if auth.len() == 1 && auth.get("secret").is_some_and(Value::is_object) => {
                let path = member(&member(&fields.path, name), "secret");
                read_secret(&path, &auth["secret"], &mut fields.problems)
            }
            Some(_) => {
                fields.problem(name, FORM);
                None
            }
        }
    }
}

/// Reads the value of `secret`, which stands at `path`. The header may be `authorization` or any header name that is
/// not reserved, in any case. It is returned in lower case. The parameter must pass [`is_parameter_name`] and must not
/// be blank. Each missing or unusable member adds one problem, and the result is then `None`. Unknown members are
/// ignored. A value that is no object counts as an empty one.
fn read_secret(path: &str, secret: &Value, problems: &mut Vec<String>) -> Option<AgentAuth> {
    let no_members = Map::new();
    let object = secret.as_object().unwrap_or(&no_members);
    let mut fields = Fields { path: path.to_owned(), object, problems: std::mem::take(problems) };
    let header = fields.required_text("header").map(|header| header.to_ascii_lowercase());
    let header = header.filter(|header| {
        let is_usable = is_token(header) && (header == "authorization" || !is_reserved(header));
        if !is_usable {
            fields.problem("header", "must be the name of a header that the function does not set itself");
        }
        is_usable
    });
    let parameter = fields.required_text("parameter");
    let parameter = parameter.filter(|name| {
        let is_usable = is_parameter_name(name);
        if !is_usable {
            fields.problem("parameter", "must be the name of an SSM parameter, such as /agents/key");
        }
        is_usable
    });
    *problems = fields.problems;
    Some(AgentAuth::Secret { header: header?, parameter: parameter? })
}

/// Returns true if `name` has at most 1,011 bytes, and only ASCII letters and digits and the characters `_.-/:`, as the
/// name or the ARN of an SSM parameter has. An empty text passes, too.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>
pub(crate) fn is_parameter_name(name: &str) -> bool {
    name.len() <= 1011 && name.chars().all(|char| char.is_ascii_alphanumeric() || "_.-/:".contains(char))
}

/// Returns true if `name` can be a header's name: a token of RFC 9110 §5.6.2, in upper or lower case. An empty text is
/// none.
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Returns true if a definition's `headers` must not set the header `name`, because it is in [`RESERVED_HEADERS`] or
/// begins with one of them that ends in `-`. `authorization` is reserved, but the definition's `auth` may name it for a
/// secret. `name` must be in lower case.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED_HEADERS
        .iter()
        .any(|reserved| if reserved.ends_with('-') { name.starts_with(reserved) } else { name == *reserved })
}
