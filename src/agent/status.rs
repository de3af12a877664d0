//! The meaning of an answer's status for the call, and the time that an agent asks to wait.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderValue};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// The class of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusClass {
    /// The agent answers.
    Accepted,
    /// The token is refused.
    Unauthorized,
    /// The agent surely did not take the call.
    NotAccepted,
    /// The agent refuses the call for good.
    Rejected,
    /// The agent took the call and failed.
    Failed,
    /// The agent took the call and did not answer in time.
    TimedOut,
}

/// Classifies a status. 401 refuses the token. 409, 425 and 429 mean that the call was not accepted. A 503 does so only
/// with `Retry-After` or from AgentCore: proxies also send it after losing a request that they had passed on. 204 to
/// 206 have no answer, and are a failure, as are 1xx and 5xx. All other 3xx and 4xx reject the call. AgentCore's own
/// statuses are those of InvokeAgentRuntime: 402 and 429 are its quotas, and mean that the call was not accepted. 424
/// is a failure of the container, 408 its silence.
/// <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_InvokeAgentRuntime.html>
pub(super) fn classify(status: StatusCode, has_retry_after: bool, is_agentcore: bool) -> StatusClass {
    match status.as_u16() {
        // No content, or a part of one.
        204..=206 => StatusClass::Failed,
        200..=299 => StatusClass::Accepted,
        401 => StatusClass::Unauthorized,
        402 if is_agentcore => StatusClass::NotAccepted,
        408 if is_agentcore => StatusClass::TimedOut,
        409 | 425 | 429 => StatusClass::NotAccepted,
        424 if is_agentcore => StatusClass::Failed,
        503 if has_retry_after || is_agentcore => StatusClass::NotAccepted,
        300..=499 => StatusClass::Rejected,
        _ => StatusClass::Failed,
    }
}

/// Reads the time that `Retry-After` asks for: a whole number of seconds, or the time from `now` to a date (RFC 9110
/// §10.2.3), which is zero if it has passed. Returns `None` if it is neither. The caller limits it.
pub(super) fn retry_after(value: &HeaderValue, now: OffsetDateTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some((date - now).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_status_means() {
        let table: [(&[u16], StatusClass, StatusClass); 9] = [
            // statuses, from any host, from AgentCore
            (&[200, 201, 202], StatusClass::Accepted, StatusClass::Accepted),
            (&[401], StatusClass::Unauthorized, StatusClass::Unauthorized),
            (&[409, 425, 429], StatusClass::NotAccepted, StatusClass::NotAccepted),
            (&[402], StatusClass::Rejected, StatusClass::NotAccepted),
            (&[408], StatusClass::Rejected, StatusClass::TimedOut),
            (&[424], StatusClass::Rejected, StatusClass::Failed),
            (&[503], StatusClass::Failed, StatusClass::NotAccepted),
            (&[301, 302, 307, 308, 400, 403, 404, 405, 413, 422, 499], StatusClass::Rejected, StatusClass::Rejected),
            (&[204, 205, 206, 500, 501, 502, 504, 529], StatusClass::Failed, StatusClass::Failed),
        ];
        for (statuses, elsewhere, agentcore) in table {
            for status in statuses {
                let status = StatusCode::from_u16(*status).unwrap();
                assert_eq!(classify(status, false, false), elsewhere, "{status}");
                assert_eq!(classify(status, false, true), agentcore, "{status} from AgentCore");
            }
        }
        assert_eq!(classify(StatusCode::SERVICE_UNAVAILABLE, true, false), StatusClass::NotAccepted);
        assert_eq!(classify(StatusCode::INTERNAL_SERVER_ERROR, true, true), StatusClass::Failed);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = OffsetDateTime::from_unix_timestamp(784_111_777).unwrap();
        for (value, expected) in [
            ("3", Some(3)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let wait = retry_after(&HeaderValue::from_static(value), now);
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{value}");
        }
    }
}
