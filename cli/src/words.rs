//! Times, sizes and texts in a readable form.

use std::time::{SystemTime, UNIX_EPOCH};

use console::{Style, measure_text_width, truncate_str};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The settings of a drawing that do not depend on its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The present time in milliseconds since 1970.
    pub(crate) now: i64,
    /// The width in columns.
    pub(crate) width: usize,
    pub(crate) colours: bool,
}

impl View {
    /// Returns the text in this style, if there are colours.
    pub(crate) fn paint(self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.colours).apply_to(text).to_string()
    }

    /// Returns the text dimmed, for what matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(&Style::new().dim(), text)
    }

    /// Returns the text as a heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(&Style::new().bold(), text)
    }
}

/// Returns the present time in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Formats a duration in at most six columns up to 99 days, in its two largest units. The rest is cut off.
pub(crate) fn duration(millis: i64) -> String {
    let seconds = millis / 1000;
    match seconds {
        ..1 => format!("{}ms", millis.max(0)),
        1..60 => format!("{seconds}.{}s", millis % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Formats a duration in its largest unit only. The rest is cut off.
pub(crate) fn roughly(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Formats how far a moment is from now.
pub(crate) fn distance(millis: i64, now: i64) -> String {
    if millis > now {
        format!("in {}", roughly(millis.saturating_sub(now)))
    } else {
        format!("{} ago", roughly(now.saturating_sub(millis)))
    }
}

/// Formats a large number in at most five columns.
pub(crate) fn short(number: i64) -> String {
    let tenths = |of: i64, unit| match number / of {
        whole @ ..100 => format!("{whole}.{}{unit}", number % of * 10 / of),
        whole => format!("{whole}{unit}"),
    };
    match number {
        ..1_000 => number.to_string(),
        1_000..1_000_000 => tenths(1_000, "k"),
        1_000_000..1_000_000_000 => tenths(1_000_000, "M"),
        _ => tenths(1_000_000_000, "G"),
    }
}

/// Formats a count: `1 event`, `2 events`.
pub(crate) fn counted(number: i64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Parses a record's time into milliseconds since 1970.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Formats a moment: without the year if it is this year, otherwise without the seconds.
pub(crate) fn moment(millis: i64, now: i64) -> String {
    let (at, today) = (instant(millis), instant(now));
    let (month, day, hour, minute) = (u8::from(at.month()), at.day(), at.hour(), at.minute());
    if at.year() == today.year() {
        format!("{month:02}-{day:02} {hour:02}:{minute:02}:{:02}", at.second())
    } else {
        format!("{:02}-{month:02}-{day:02} {hour:02}:{minute:02}", at.year() % 100)
    }
}

/// Formats a moment as RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(millis: i64) -> String {
    let at = instant(millis);
    let date = at.date();
    format!("{date}T{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second())
}

/// Returns the moment so many milliseconds after 1970, or the beginning of 1970 for one that has no date here.
fn instant(millis: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Formats a value as text: strings without quotes.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns true for a character that could control a terminal, or change the order in which its text is read.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces each character that could control a terminal, or change the order in which its text is read, by a space,
/// because an agent's words can be anything. Newlines stay.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && steers(c) { ' ' } else { c }).collect()
}

/// Returns a value as indented JSON. What could control a terminal is escaped, so that the value stays the same.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    for c in format!("{value:#}").chars() {
        // Outside strings there are no control characters but newlines, and inside there are no newlines.
        if c != '\n' && steers(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// Returns a text as a shell takes it as one word, whatever it holds. In quotes, newlines and what [`harmless`]
/// replaces are spaces. It may still begin with a hyphen, so it belongs behind `--` or `--option=`.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", harmless(text).replace('\n', " ").replace('\'', "'\\''"))
}

/// Replaces what could control a terminal by spaces, as [`harmless`] does, and joins the text to one line. Each run of
/// white space becomes one space, and white space at both ends is dropped.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts a text to a width at its end.
pub(crate) fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, "…").into_owned()
}

/// Cuts a text to a width in its middle, because names differ at both ends. A width of 0 cuts nothing.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if measure_text_width(text) <= width || width == 0 {
        return text.to_owned();
    }
    let mut kept = (width - 1).min(chars.len());
    loop {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let short: String = chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect();
        if kept == 0 || measure_text_width(&short) <= width {
            return short;
        }
        kept -= 1;
    }
}

/// Pads a text with spaces to a width.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

/// Wraps a text into lines of at most `width` columns, between words where possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split_inclusive(' ') {
            if measure_text_width(&current) + measure_text_width(word.trim_end()) > width && !current.is_empty() {
                lines.push(std::mem::take(&mut current).trim_end().to_owned());
            }
            for c in word.chars() {
                if c != ' ' && measure_text_width(&current) + measure_text_width(c.encode_utf8(&mut [0; 4])) > width {
                    lines.push(std::mem::take(&mut current));
                }
                current.push(c);
            }
        }
        lines.push(current.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_six_columns() {
        for (millis, expected, rough) in [
            (-5, "0ms", "0s"),
            (999, "999ms", "0s"),
            (59_999, "59.9s", "59s"),
            (60_000, "1m00s", "1m"),
            (3_599_999, "59m59s", "59m"),
            (86_399_999, "23h59m", "23h"),
            (90_000_000, "1d01h", "1d"),
        ] {
            assert_eq!((duration(millis).as_str(), roughly(millis).as_str()), (expected, rough));
        }
        assert_eq!(distance(1_000, 61_000), "1m ago");
        assert_eq!(distance(61_000, 1_000), "in 1m");
    }

    #[test]
    fn numbers_take_five_columns() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (99_999, "99.9k"),
            (999_999, "999k"),
            (1_250_000, "1.2M"),
            (3_000_000_000, "3.0G"),
        ] {
            assert_eq!(short(number), expected);
        }
        assert_eq!((counted(1, "event"), counted(0, "event")), ("1 event".to_owned(), "0 events".to_owned()));
    }

    #[test]
    fn times_are_read_and_told() {
        let now = parse_time("2026-11-21T03:00:00.000Z").unwrap();
        let at = parse_time("2026-11-21T04:00:01.500+02:00").unwrap();
        assert_eq!(now - at, 3_598_500);
        assert_eq!(moment(at, now), "11-21 02:00:01");
        assert_eq!(moment(at - 365 * 86_400_000, now), "25-11-21 02:00");
        assert_eq!(rfc3339(at), "2026-11-21T02:00:01Z");
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mred\u{7}\nb\u{202e}c"), "a [31mred \nb c");
        assert_eq!(one_line("a\n\t b\r\n"), "a b");
        assert_eq!(harmless("a\u{61c}b\u{2028}c\u{2029}d\u{9b}e"), "a b c d e");
    }

    #[test]
    fn json_steers_no_terminal_and_stays_the_same_value() {
        let value = serde_json::json!({"a\u{9b}": ["\u{7f}\u{85}\u{1b}[2J\n\u{202e}x\u{61c}é"]});
        let text = pretty(&value);
        assert!(text.chars().all(|c| c == '\n' || !steers(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_a_shell_would_run_is_quoted() {
        for (text, expected) in [
            ("nightly-report.1", "nightly-report.1"),
            ("http://127.0.0.1:9010", "http://127.0.0.1:9010"),
            ("$(rm x)", "'$(rm x)'"),
            ("it's", "'it'\\''s'"),
            ("a  b", "'a  b'"),
            ("a\nb\u{1b}", "'a b '"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn no_number_of_a_record_overflows() {
        assert_eq!(distance(i64::MIN, 0), format!("{} ago", roughly(i64::MAX)));
        assert_eq!(distance(i64::MAX, -1), format!("in {}", roughly(i64::MAX)));
    }

    #[test]
    fn texts_are_fitted_to_columns() {
        assert_eq!(cut("answer", 6), "answer");
        assert_eq!(cut("answers", 6), "answe…");
        assert_eq!(shorten("nightly-report-eu", 17), "nightly-report-eu");
        assert_eq!(shorten("nightly-report-eu", 8), "nigh…-eu");
        assert_eq!(measure_text_width(&shorten("日本語日本語日本語", 8)), 7);
        assert_eq!(pad("日本", 6), "日本  ");
    }

    #[test]
    fn lines_break_between_words_and_long_words_anywhere() {
        assert_eq!(wrap("three files came in\n\nnow", 11), ["three files", "came in", "", "now"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("  indented", 20), ["  indented"]);
    }
}
