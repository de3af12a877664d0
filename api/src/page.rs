//! Pages of lists: their size, and the token of the next one. A token holds an id and nothing else: the partition comes
//! from the path and the caller, so a forged one only begins the caller's own list elsewhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{auth::is_id, error::ApiError};

/// The most entries of a page.
pub const LARGEST: usize = 100;

/// Reads the number of entries that a client asks for, or returns `default` if it asks for none. A number above
/// [`LARGEST`] counts as this limit.
///
/// # Errors
/// Returns an error if it is no number from 1 on.
pub fn limit(text: Option<&str>, default: usize) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    number
        .map(|number| number.min(LARGEST))
        .ok_or_else(|| ApiError::field("limit", "must be a whole number from 1 to 100"))
}

/// Returns the token of the page after the entry with this id: JSON with the id, in base64 for URLs.
pub fn token(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": 1, "a": after}).to_string())
}

/// Reads the token of a page. Returns the id after which the page begins, or `None` without a token.
///
/// # Errors
/// Returns an error if it is no token of this API.
pub fn after(token: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(token) = token else { return Ok(None) };
    let read = || {
        let token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let id = token.get("a")?.as_str().filter(|_| token.get("v") == Some(&json!(1)))?;
        is_id(id).then(|| id.to_owned())
    };
    read().map(Some).ok_or_else(|| ApiError::field("nextToken", "is not a token of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hold_an_id() {
        assert_eq!(after(Some(&token("trigger#1/ü"))), Ok(Some("trigger#1/ü".to_owned())));
        assert_eq!(after(None), Ok(None));
        let forged = [
            json!({"v": 2, "a": "x"}),
            json!({"a": "x"}),
            json!({"v": 1}),
            json!({"v": 1, "a": ""}),
            json!([]),
            json!({"v": 1, "a": "x\u{0}"}),
            json!({"v": 1, "a": "x".repeat(257)}),
            json!({"v": 1, "a": {"S": "x"}}),
        ];
        for value in forged {
            assert!(after(Some(&URL_SAFE_NO_PAD.encode(value.to_string()))).is_err(), "{value}");
        }
        for text in ["", "!", "bm8", "eyJ2IjoxLCJhIjoi"] {
            assert!(after(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_bounded() {
        for (text, expected) in [(None, Ok(20)), (Some("1"), Ok(1)), (Some("1000"), Ok(100))] {
            assert_eq!(limit(text, 20), expected);
        }
        for text in ["0", "-1", "ten", "", "1.5"] {
            assert!(limit(Some(text), 20).is_err(), "{text}");
        }
    }
}
