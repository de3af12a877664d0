//! Members that one object holds twice: the one that says the most of the run's end is heard. Readers of JSON differ in
//! which of them they hear, and a failure must not hide behind a success of the same name.

use crate::agent::protocol::members::Name;
use crate::json::scan::{Members, RawJson};

/// Returns the members of these names, each the one that says the most of the run's end, and the first among equals.
pub(super) fn pick<'a, const N: usize>(object: RawJson<'a>, names: [&str; N]) -> [Option<RawJson<'a>>; N] {
    let mut picked = [None; N];
    for (name, value) in Members::of(object.raw()) {
        if let Some(at) = name.position(&names) {
            hear(&mut picked[at], value);
        }
    }
    picked
}

/// Takes another member of a name in place of the one before, if it says more of the run's end. Few frames have two:
/// the weights are not computed for the first.
pub(super) fn hear<'a>(heard: &mut Option<RawJson<'a>>, value: RawJson<'a>) {
    let weight = |value| Name::StopReason.weight(value);
    if heard.is_none_or(|before| weight(value) > weight(before)) {
        *heard = Some(value);
    }
}
