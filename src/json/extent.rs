//! Follows a value to its end while its bytes come, so that whoever collects it need not scan it again at every piece.

use memchr::memchr2;

/// Where the value is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before its first byte.
    #[default]
    Before,
    Within,
    /// Behind its end.
    Behind,
    /// It is no object, array or string, or something came behind it.
    None,
}

/// The extent of an object, an array or a string. Like [`crate::json::scan`] it counts brackets and does not tell one
/// kind from the other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    place: Place,
    depth: usize,
    in_string: bool,
    escaped: bool,
    #[cfg(test)]
    looked_at: usize,
}

impl Extent {
    /// Takes the next bytes, split anywhere. Each is looked at once. Anything but white space behind the value's end
    /// means that there is no value.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let (taken, _) = self.take(bytes);
        // White space may follow the value.
        if bytes[taken..].iter().any(|byte| !byte.is_ascii_whitespace()) {
            self.place = Place::None;
        }
    }

    /// Takes the next bytes up to the end of the value. Returns how many they are, and whether the value has its end.
    /// Behind its end none are taken. If there is no value, all bytes are taken and it never ends.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        #[cfg(test)]
        {
            self.looked_at += bytes.len();
        }
        let mut at = 0;
        while self.place != Place::Behind
            && let Some(byte) = bytes.get(at).copied()
        {
            if self.place == Place::None {
                return (bytes.len(), false);
            }
            if self.in_string && !self.escaped {
                at += memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
                match bytes.get(at) {
                    Some(b'"') => self.in_string = false,
                    Some(_) => self.escaped = true,
                    None => return (at, false),
                }
            } else if self.in_string {
                self.escaped = false;
            } else {
                self.outside(byte);
            }
            at += 1;
            if self.place == Place::Within && !self.in_string && self.depth == 0 {
                self.place = Place::Behind;
            }
        }
        (at, self.place == Place::Behind)
    }

    /// Takes a byte that stands in no string: white space before the value, a bracket, a quote, or anything between
    /// them. If it cannot begin an object, an array or a string, there is no value.
    fn outside(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Before, b' ' | b'\t' | b'\r' | b'\n') => return,
            (Place::Before | Place::Within, b'{' | b'[') => self.depth += 1,
            (Place::Before | Place::Within, b'"') => self.in_string = true,
            (Place::Within, b'}' | b']') => self.depth -= 1,
            (Place::Within, _) => {}
            _ => {
                self.place = Place::None;
                return;
            }
        }
        self.place = Place::Within;
    }

    /// Returns true if the value has its end, and nothing but white space came behind it.
    pub(crate) fn is_whole(&self) -> bool {
        self.place == Place::Behind
    }

    /// Returns true if an object or an array is open, outside its strings: a line end may stand here. Numbers and words
    /// are not told apart from the space between tokens.
    pub(crate) fn is_between_tokens(&self) -> bool {
        self.place == Place::Within && !self.in_string
    }
}

#[cfg(test)]
impl Extent {
    /// Returns the bytes that it took.
    pub(crate) fn looked_at(&self) -> usize {
        self.looked_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, chunk: usize) -> Extent {
        let mut extent = Extent::default();
        text.as_bytes().chunks(chunk).for_each(|part| extent.feed(part));
        extent
    }

    #[test]
    fn a_value_is_whole_at_its_end() {
        for text in ["{}", " {\"a\":[1,{\"b\":\"}\"}]}\n", "[1]", "\"a\\\"b\"", "[\"\\\\\"] ", "{\"a\":\"\\u007d\"}"] {
            for chunk in [1, 3, 100] {
                assert!(of(text, chunk).is_whole(), "{text}");
                let end = text.trim_end().len();
                (0..end).filter(|at| text.is_char_boundary(*at)).for_each(|at| {
                    assert!(!of(&text[..at], chunk).is_whole(), "{text} at {at}");
                });
                for behind in ["x", "}", "{}", "\""] {
                    assert!(!of(&format!("{text}{behind}"), chunk).is_whole(), "{text}{behind}");
                }
            }
        }
        for text in ["", "1", "x{}", "}", "null", "\\\"\""] {
            assert!(!of(text, 2).is_whole(), "{text}");
        }
    }

    #[test]
    fn a_line_may_end_within_a_container_but_not_within_a_string() {
        for text in ["{", "[{\"a\":1,", "{\"a\":[\"b\""] {
            assert!(of(text, 1).is_between_tokens(), "{text}");
        }
        for text in ["", "{}", "{\"a", "{\"a\\", "\"a", "x"] {
            assert!(!of(text, 1).is_between_tokens(), "{text}");
        }
    }
}
