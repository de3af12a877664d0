//! What an answer of Lambda that is an error says: its words for people, and whether another try may end well.

use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::redact::cut;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// The longest part of an answer's error that is kept, in bytes.
pub(super) const LONGEST_MESSAGE: usize = 200;

/// The statuses of servers after which the AWS SDKs try again, whatever the answer's code is.
const TRANSIENT: [u16; 4] = [500, 502, 503, 504];
/// The codes of a limit of time after which the AWS SDKs try again.
const TIMED_OUT: [&str; 2] = ["RequestTimeout", "RequestTimeoutException"];
/// The codes of throttling after which the AWS SDKs try again, whatever the answer's status is.
const THROTTLING: [&str; 14] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
];
/// The codes with which AWS refuses a request that was signed by a wrong clock, or by wrong credentials.
const OF_CLOCK: [&str; 5] = [
    "AuthFailure",
    "AccessDeniedException",
    "InvalidSignatureException",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];
/// The difference of the clocks up to which such a code is not the clock's, in seconds. AWS takes 5 minutes.
pub(super) const CLOCK_TOLERANCE: i64 = 4 * 60;
/// The code of an event that Lambda does not take for JSON. Its message quotes the event.
const QUOTING: &str = "InvalidRequestContentException";

/// Whether another try may succeed after one has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It would fail in the same way.
    No,
    /// It may succeed.
    Maybe,
    /// It may succeed after a longer wait, because Lambda has too much to do.
    Later,
}

/// Returns the code of an answer that is an error, and its words for people: the code, or the status if there is none,
/// and the message. A message is left out if it may quote the event, or if the answer has no code: then it may be
/// somebody else's.
pub(super) fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: &[&str]| names.iter().find_map(|name| body[*name].as_str());
    let named = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok());
    let code = named.or_else(|| text(&["code", "__type"])).unwrap_or_default();
    // Behind the colon is a URL, and before the # a namespace.
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().filter(|code| is_code(code)).unwrap_or_default();
    let message = text(&["message", "Message", "errorMessage"]).filter(|message| !message.is_empty());
    let message = message.map(|message| cut(message, LONGEST_MESSAGE));
    let words = match (code, message) {
        ("", _) => format!("status {}", status.as_u16()),
        (QUOTING, _) | (_, None) => code.to_owned(),
        (code, Some(message)) => format!("{code}: {message}"),
    };
    (code.to_owned(), words)
}

/// Returns true if a text has the form of an error code of AWS: 1 to 64 letters and digits.
pub(super) fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns whether another try may succeed after an answer with this status and this code.
pub(super) fn again_after(status: StatusCode, code: &str) -> Again {
    if status == StatusCode::TOO_MANY_REQUESTS || THROTTLING.contains(&code) {
        Again::Later
    } else if TRANSIENT.contains(&status.as_u16()) || TIMED_OUT.contains(&code) {
        Again::Maybe
    } else {
        Again::No
    }
}

/// Returns the seconds by which the clock of an answer is ahead of `now`, in seconds since 1970, if the code may be that
/// of a wrong clock and the answer has its date.
pub(super) fn clock_ahead(code: &str, date: Option<&HeaderValue>, now: i64) -> Option<i64> {
    let date = date.filter(|_| OF_CLOCK.contains(&code))?.to_str().ok()?;
    Some(OffsetDateTime::parse(date.trim(), &Rfc2822).ok()?.unix_timestamp() - now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_that_of_the_header_or_of_the_body() {
        for (header, body, code, words) in [
            (Some("A:http://x/"), json!({"__type": "B", "Message": "m"}).to_string(), "A", "A: m"),
            (Some("x#A:http://x/"), "{".to_owned(), "A", "A"),
            (None, json!({"__type": "com.amazonaws#B", "message": "m"}).to_string(), "B", "B: m"),
            (None, json!({"code": "C", "__type": "B", "errorMessage": "m"}).to_string(), "C", "C: m"),
            (None, json!({"code": 1, "message": ["m"]}).to_string(), "", "status 502"),
            (None, "<html>".to_owned(), "", "status 502"),
            (Some(""), String::new(), "", "status 502"),
            (None, json!(["code"]).to_string(), "", "status 502"),
            (
                None,
                json!({"code": "C", "message": "é".repeat(150)}).to_string(),
                "C",
                &format!("C: {}", "é".repeat(100)),
            ),
            // What may be the event's is not repeated.
            (Some(QUOTING), json!({"Message": "the prompt"}).to_string(), QUOTING, QUOTING),
            (None, json!({"code": "the prompt", "message": "the prompt"}).to_string(), "", "status 502"),
            (None, json!({"message": "the prompt"}).to_string(), "", "status 502"),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|value| (ERROR_TYPE, HeaderValue::from_static(value))));
            let said = said(StatusCode::BAD_GATEWAY, &headers, body.as_bytes());
            assert_eq!(said, (code.to_owned(), words.to_owned()), "{header:?} {body}");
        }
    }

    #[test]
    fn what_is_transient_or_throttled_is_tried_again() {
        for (status, code, expected) in [
            (429, "", Again::Later),
            (429, "TooManyRequestsException", Again::Later),
            (500, "ServiceException", Again::Maybe),
            (502, "EC2UnexpectedException", Again::Maybe),
            (502, "EC2ThrottledException", Again::Later),
            (503, "", Again::Maybe),
            (504, "", Again::Maybe),
            (400, "ThrottlingException", Again::Later),
            (400, "RequestTimeout", Again::Maybe),
            (408, "RequestTimeoutException", Again::Maybe),
            (301, "", Again::No),
            (400, "InvalidRequestContentException", Again::No),
            (403, "AccessDeniedException", Again::No),
            (404, "ResourceNotFoundException", Again::No),
            (408, "", Again::No),
            (413, "RequestTooLargeException", Again::No),
            (501, "", Again::No),
        ] {
            assert_eq!(again_after(StatusCode::from_u16(status).unwrap(), code), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_wrong_clock_is_told_by_the_date_of_the_answer() {
        const NOW: i64 = 784_111_777;
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:59:37 GMT");
        for (code, date, expected) in [
            ("InvalidSignatureException", Some(&date), Some(600)),
            ("RequestTimeTooSkewed", Some(&date), Some(600)),
            ("AccessDeniedException", Some(&date), Some(600)),
            ("ResourceNotFoundException", Some(&date), None),
            ("InvalidSignatureException", None, None),
            ("InvalidSignatureException", Some(&HeaderValue::from_static("soon")), None),
        ] {
            assert_eq!(clock_ahead(code, date, NOW), expected, "{code} {date:?}");
        }
    }
}
