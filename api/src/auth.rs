//! The caller of a request, from the claims of a token that the authorizer has checked. The claims come from nowhere
//! else, so an API without an authorizer is closed.

use std::collections::HashMap;

use agent_trigger::domain::ids::UserId;

use crate::settings::Settings;

/// The scope by which a token without a user may act for one.
pub const MACHINE_SCOPE: &str = "agent-trigger/manage";
/// The header that names the user for whom a token without a user acts.
pub const TARGET_USER: &str = "x-target-user-id";
/// The longest id of a user, a trigger or an execution, in bytes.
const LONGEST_ID: usize = 256;

/// The claims of a token that the authorizer has checked.
#[derive(Debug, Clone, Default)]
pub struct Claims(pub HashMap<String, String>);

/// The user for whom a request acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub UserId);

/// The reason why a request acts for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No usable token. The answer is the same for every cause.
    Unauthenticated,
    /// A token without a user that may act for others, but does not name one, or has not the scope.
    NoUser,
}

/// Decides for whom a request acts: the user of an access token, or the user whom `target_user` names if the token has
/// no user, `MACHINE_TOKENS` allows this, and the token has [`MACHINE_SCOPE`]. Tokens of the run function's own client
/// act for nobody.
///
/// # Errors
/// Returns `Unauthenticated` without claims, a usable subject or a client, for a token that is no access token, for the
/// run function's own client, and for a token without a user where these are not allowed. Returns `NoUser` if such a
/// token has not the scope, or names no usable user.
pub fn caller(claims: Option<&Claims>, target_user: Option<&str>, settings: &Settings) -> Result<Caller, Refusal> {
    let Claims(claims) = claims.ok_or(Refusal::Unauthenticated)?;
    let claim = |name: &str| claims.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let subject = claim("sub").filter(|subject| is_id(subject)).ok_or(Refusal::Unauthenticated)?;
    // The authorizer does not check this. An id token is for the client itself.
    if claim("token_use") != Some("access") {
        return Err(Refusal::Unauthenticated);
    }
    let client = claim("client_id");
    // Agents receive the run function's tokens as their bearer.
    if client.is_none() || settings.run_client_id.as_deref() == client {
        return Err(Refusal::Unauthenticated);
    }
    // Cognito's tokens of client credentials have the client as their subject, and no user name.
    let is_machine = Some(subject) == client || claim("username").is_none();
    if !is_machine {
        return Ok(Caller(subject.into()));
    }
    if !settings.machine_tokens {
        return Err(Refusal::Unauthenticated);
    }
    let has_scope = claim("scope").is_some_and(|scopes| scopes.split(' ').any(|scope| scope == MACHINE_SCOPE));
    let target = target_user.filter(|user| has_scope && is_id(user)).ok_or(Refusal::NoUser)?;
    Ok(Caller(target.into()))
}

/// Returns true if a text can be an id of a key: it is not blank, and has at most 256 bytes and no control characters.
pub fn is_id(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST_ID && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(machine_tokens: &str) -> Settings {
        Settings::from_lookup(|name| {
            Some(match name {
                "LOCAL_PORT"
                | "LOGIN_DOMAIN"
                | "HOOKS_URL"
                | "EVENT_SOURCES"
                | "MIN_SCHEDULE_MINUTES"
                | "TRIGGER_LIMIT"
                | "AGENT_ON_AGENTCORE" => return None,
                "MACHINE_TOKENS" => machine_tokens.to_owned(),
                "RUN_CLIENT_ID" => "run-client".to_owned(),
                _ => "x".to_owned(),
            })
        })
        .unwrap()
    }

    #[test]
    fn who_acts_for_whom() {
        let user = [("sub", "user-1"), ("username", "ada"), ("client_id", "web"), ("token_use", "access")];
        let machine = [
            ("sub", "robot"),
            ("client_id", "robot"),
            ("token_use", "access"),
            ("scope", "other agent-trigger/manage"),
        ];
        let with = |base: &[(&str, &str)], name: &str, value: &str| {
            let mut claims: HashMap<String, String> =
                base.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            claims.insert(name.to_owned(), value.to_owned());
            Claims(claims)
        };
        let no = Err(Refusal::Unauthenticated);
        let (off, on) = (settings("false"), settings("true"));
        for (claims, target, when_off, when_on) in [
            (with(&user, "", ""), None, Ok("user-1"), Ok("user-1")),
            // A user acts for nobody else.
            (with(&user, "scope", MACHINE_SCOPE), Some("user-2"), Ok("user-1"), Ok("user-1")),
            (with(&user, "token_use", "id"), None, no, no),
            (with(&user, "token_use", ""), None, no, no),
            (with(&user, "sub", ""), None, no, no),
            (with(&user, "sub", "a\nb"), None, no, no),
            (with(&user, "client_id", ""), None, no, no),
            (with(&user, "client_id", "run-client"), None, no, no),
            (with(&machine, "", ""), Some("user-2"), no, Ok("user-2")),
            (with(&machine, "", ""), None, no, Err(Refusal::NoUser)),
            (with(&machine, "", ""), Some(" "), no, Err(Refusal::NoUser)),
            (with(&machine, "scope", "agent-trigger/managed"), Some("user-2"), no, Err(Refusal::NoUser)),
            (with(&machine, "client_id", "run-client"), Some("user-2"), no, no),
            (with(&machine, "token_use", "id"), Some("user-2"), no, no),
        ] {
            let found = |settings| caller(Some(&claims), target, settings).map(|Caller(user)| user.to_string());
            assert_eq!(found(&off), when_off.map(str::to_owned), "{claims:?} off");
            assert_eq!(found(&on), when_on.map(str::to_owned), "{claims:?} on");
        }
        assert_eq!(caller(None, Some("user-2"), &on), Err(Refusal::Unauthenticated));
    }
}
