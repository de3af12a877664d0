//! From a schedule that breaks a promise to the shortest story of it that can be found.

use crate::{
    Counts,
    promises::Promise,
    rules::Rule,
    schedule::{self, Trouble},
};

/// How many further schedules are tried without each trouble.
const TRIES: u64 = 5_000;

pub(crate) struct Story {
    pub(crate) seed: u64,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) trace: Vec<String>,
}

/// Takes out every trouble without which the promise still breaks, then looks for the fewest steps.
pub(crate) fn shortest(seed: u64, without: Option<Rule>, troubles: &[Trouble], promise: Promise) -> Story {
    let seeds = || (0..TRIES).map(move |index| seed.wrapping_add(index));
    let breaks = |seed: u64, troubles: &[Trouble], traces: bool| {
        let verdict = schedule::run(seed, without, troubles, traces, &mut Counts::new());
        verdict.broken.filter(|(broken, _)| *broken == promise).map(|(_, detail)| (verdict.trace, detail))
    };
    let mut kept = troubles.to_vec();
    for trouble in troubles {
        let fewer: Vec<_> = kept.iter().copied().filter(|other| other != trouble).collect();
        if seeds().any(|seed| breaks(seed, &fewer, false).is_some()) {
            kept = fewer;
        }
    }
    let stories = seeds().filter_map(|seed| {
        let (mut trace, detail) = breaks(seed, &kept, true)?;
        trace.push(detail);
        Some((seed, trace))
    });
    let (seed, trace) = stories.min_by_key(|(_, trace)| trace.len()).expect("the schedules that were just found");
    Story { seed, troubles: kept, trace }
}
