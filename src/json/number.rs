//! Numbers by value, whatever their size and spelling. A JSON number has no limits, and neither a double nor an integer
//! of 64 bits holds them all: an amount in wei has 21 digits, DynamoDB's numbers have 38.

use std::cmp::Ordering;

use serde_json::Number;

/// A decimal number as a text spells it.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// The digits without zeros at either end. There are none if the number is 0.
    digits: Vec<u8>,
    /// The number is 0.DIGITS times ten to the power of this.
    magnitude: i64,
}

/// Returns the number that a text spells in JSON's notation, with its own spelling, or `None` if it spells none. White
/// space around it is dropped. serde_json would write the `1e15` that it reads as `1e+15`.
pub(crate) fn number(text: &str) -> Option<Number> {
    serde_json::from_str::<Number>(text).ok()?;
    Some(Number::from_string_unchecked(text.trim().to_owned()))
}

/// Compares two numbers by value, exactly. Returns `None` if one of them is no decimal number.
pub(crate) fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => Some(Decimal::read(left.as_str())?.compare(&Decimal::read(right.as_str())?)),
    }
}

/// Returns the whole number that a text spells in any way (`900`, `900.0`, `9E2`, `-0`). Returns `None` if it is none,
/// is negative, or does not fit 64 bits.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let decimal = Decimal::read(text)?;
    if decimal.digits.is_empty() {
        return Some(0);
    }
    // Digits after the point are left only if the number is not whole.
    let zeros = usize::try_from(decimal.magnitude).ok()?.checked_sub(decimal.digits.len())?;
    let (false, 0..=20) = (decimal.is_negative, zeros) else { return None };
    let digits = decimal.digits.iter().copied().chain(std::iter::repeat_n(b'0', zeros));
    digits.into_iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

impl Decimal {
    /// Reads a number's text in decimal notation, with or without a sign (`+` too), a point and an exponent. A digit
    /// must stand before the point. Returns `None` for any other text. Zeros at both ends of the digits do not matter,
    /// and zero has no sign.
    fn read(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
            return None;
        }
        let all = || whole.bytes().chain(part.bytes());
        let zeros = all().take_while(|digit| *digit == b'0').count();
        let mut digits: Vec<u8> = all().skip(zeros).collect();
        digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
        let before = i64::try_from(whole.len()).ok()?.saturating_sub(i64::try_from(zeros).ok()?);
        let magnitude = if digits.is_empty() { 0 } else { before.saturating_add(exponent) };
        Some(Self { is_negative: is_negative && !digits.is_empty(), digits, magnitude })
    }

    /// Compares two decimals by value: by their signs first, then by their magnitudes, then by their digits.
    fn compare(&self, other: &Self) -> Ordering {
        let sign = |decimal: &Self| match (decimal.digits.is_empty(), decimal.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = || self.magnitude.cmp(&other.magnitude).then_with(|| self.digits.cmp(&other.digits));
        match (sign(self), sign(other)) {
            (1, 1) => size(),
            (-1, -1) => size().reverse(),
            (left, right) => left.cmp(&right),
        }
    }
}

/// Reads an exponent, with or without a sign. One that is too large, or too small, for any number in this world becomes
/// the largest, or the smallest. Returns `None` if it is no whole number.
fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let limit = i64::MAX / 4;
    let size = digits.parse::<i64>().map_or(limit, |size| size.min(limit));
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_spelling() {
        for text in ["1e15", "1E+6", "1.50", "-0", "1e400", "123456789012345678901234567890", "900.0"] {
            assert_eq!(number(text).unwrap().to_string(), text);
        }
        for text in ["", "01", "+1", "1.", ".5", "0x1", "NaN", "1e", "1 2", "\"1\""] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_compared_by_value() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("1", "1.0", Equal),
            ("100", "1e2", Equal),
            ("301.8", "3.018e2", Equal),
            ("0", "-0.0e5", Equal),
            ("0.1", "0.10000000000000000001", Less),
            ("9007199254740993", "9007199254740992.0", Greater),
            ("123456789012345678901234567890", "123456789012345678901234567891", Less),
            ("1e400", "1e399", Greater),
            ("1e400", "10e399", Equal),
            ("-1e400", "1e-400", Less),
            ("-2", "-10", Greater),
            ("-2.5", "-2.49", Less),
            ("0.05", "0.5", Less),
            ("1e-5", "0", Greater),
            ("1e99999999999999999999", "1e5", Greater),
        ] {
            let [a, b] = [left, right].map(|text| number(text).unwrap());
            assert_eq!(compare(&a, &b), Some(expected), "{left} {right}");
            assert_eq!(compare(&b, &a), Some(expected.reverse()), "{right} {left}");
        }
    }

    #[test]
    fn whole_numbers_are_read_in_any_spelling() {
        for (text, expected) in [
            ("900.0", Some(900)),
            ("1E+6", Some(1_000_000)),
            ("5000000000", Some(5_000_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("0.9e3", Some(900)),
            ("0e999999", Some(0)),
            ("-0", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("1e300", None),
            ("1e-1", None),
            ("inf", None),
            ("1 ", None),
            ("", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}
