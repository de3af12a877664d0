//! Text that is kept up to a limit.

/// Text that is kept up to a limit in bytes, cut between characters.
#[derive(Debug)]
pub(crate) struct BoundedText {
    text: String,
    limit: usize,
    truncated: bool,
}

impl BoundedText {
    /// Returns an empty text that keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> BoundedText {
        BoundedText { text: String::new(), limit, truncated: false }
    }

    /// Appends `more`, as far as it fits, cut between characters. Once something did not fit, nothing is appended any
    /// more.
    pub(crate) fn push(&mut self, more: &str) {
        if self.truncated {
            return;
        }
        let room = self.limit - self.text.len();
        self.truncated = more.len() > room;
        self.text.push_str(&more[..more.floor_char_boundary(room)]);
    }

    /// Appends UTF-8 that may be invalid, as [`BoundedText::push`] does. Invalid bytes become U+FFFD.
    pub(crate) fn push_lossy(&mut self, more: &[u8]) {
        if self.truncated {
            return;
        }
        // The four bytes beyond the room still show that something was cut, and a character they split is cut anyway.
        let most = more.len().min(self.limit - self.text.len() + 4);
        match std::str::from_utf8(&more[..most]) {
            Ok(more) => self.push(more),
            Err(_) => self.push(&String::from_utf8_lossy(&more[..most])),
        }
    }

    /// Empties the text, which then counts as not truncated.
    pub(crate) fn clear(&mut self) {
        self.cut_back(0);
    }

    /// Takes back what was appended after the first `length` bytes, and a character that would be split. The text then
    /// counts as not truncated.
    pub(crate) fn cut_back(&mut self, length: usize) {
        self.text.truncate(self.text.floor_char_boundary(length));
        self.truncated = false;
    }

    /// Replaces the bytes from `begin` to `end` by the text that `write` appends. Returns where this text ends. The
    /// text after it follows as far as it still fits. If the text was cut before, and there was text after `end`, it
    /// still counts as cut.
    pub(crate) fn replace(&mut self, begin: usize, end: usize, write: impl FnOnce(&mut BoundedText)) -> usize {
        let tail = self.text.split_off(self.text.floor_char_boundary(end.min(self.text.len())));
        let was_truncated = self.truncated && !tail.is_empty();
        self.cut_back(begin);
        write(self);
        let end = self.text.len();
        self.push(&tail);
        self.truncated |= was_truncated;
        end
    }

    /// Empties the text as [`BoundedText::clear`] does, and gives its memory back.
    pub(crate) fn release(&mut self) {
        self.clear();
        self.text.shrink_to_fit();
    }

    /// Returns the text that is kept.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the number of bytes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Returns true if nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns true if something did not fit since the text was last emptied or cut back.
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Returns the text that is kept.
    pub(crate) fn into_string(self) -> String {
        self.text
    }
}
