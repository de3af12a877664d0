//! The place of the answer in an object of an agent's own making.

use crate::agent::protocol::members::{ANSWERS, Members, Name};
use crate::agent::protocol::models::Answer;
use crate::agent::protocol::words::{is_repr, is_word, push_answer};
use crate::agent::transcript::MAX_OUTPUT;
use crate::json::text::BoundedText;

/// Levels within a member in which an answer's text is looked for: a message, its content, the parts of that.
pub(super) const DEPTH: usize = 4;

/// Returns the members whose text is the answer, in the order in which they are looked at.
pub(super) fn texts() -> impl Iterator<Item = Name> {
    ANSWERS.into_iter().chain([Name::Message])
}

/// Returns the first of the members of [`texts`] that has text, and that text, or `None` if none has any. The text of
/// `raw`, a model's raw answer in the frame or in one of these members, comes before that of `message`, which is often a
/// word such as `ok`. Words of the user or a tool are no answer, and Python's repr is no text.
pub(super) fn answer_of(members: &Members<'_>, raw: Option<&Answer<'_>>) -> Option<(Name, BoundedText)> {
    if is_word(members.get(Name::Role), &["user", "tool"]) || is_word(members.get(Name::Type), &["human"]) {
        return None;
    }
    let own = |name| {
        let mut text = BoundedText::new(MAX_OUTPUT + 4);
        push_answer(members.get(name)?, &mut text, DEPTH);
        Some((name, text)).filter(|(_, text)| !text.is_empty() && !is_repr(text.as_str()))
    };
    let of_model = || Some((raw?.under(), raw?.text()?));
    ANSWERS.into_iter().find_map(own).or_else(of_model).or_else(|| own(Name::Message))
}

/// Appends the answer that an object of an agent's own holds, in the first of [`texts`] that has text. Appends
/// nothing if it holds none.
pub(super) fn push_answer_of(members: &Members<'_>, out: &mut BoundedText) {
    if let Some((_, text)) = answer_of(members, None) {
        out.push(text.as_str());
    }
}
