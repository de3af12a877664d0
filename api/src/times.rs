//! Times in the form that records use: RFC 3339 in UTC with milliseconds, so that they sort as text.

use jiff::Timestamp;

/// Returns a time as records hold it.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Returns the present time in whole milliseconds.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        let at: Timestamp = "2026-01-31T07:00:00.1204Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-01-31T07:00:00.120Z");
        let at: Timestamp = "2026-01-31T07:00:00Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-01-31T07:00:00.000Z");
        assert_eq!(rfc3339(now()).len(), 24);
    }
}
