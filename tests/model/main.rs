//! The model check.

mod agent;
mod attempt;
mod held;
mod network;
mod promises;
mod rules;
mod schedule;
mod settler;
mod sim;
mod table;

use std::collections::HashMap;

use promises::Promise;
use rules::Rule;
use schedule::Trouble;

const DEFAULT_SCHEDULES: u64 = 20_000;
const DEFAULT_SEED: u64 = 20_260_131;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// The first schedule that breaks a promise.
fn search(without: Option<Rule>, counts: &mut HashMap<String, u32>) -> Option<(u64, u64, Promise, String)> {
    let seed = setting("MODEL_SEED", DEFAULT_SEED);
    (0..setting("MODEL_SCHEDULES", DEFAULT_SCHEDULES)).find_map(|index| {
        let seed = seed.wrapping_add(index);
        let verdict = schedule::run(seed, without, &Trouble::ALL, false, counts);
        verdict.broken.map(|(promise, detail)| (index + 1, seed, promise, detail))
    })
}

#[test]
fn explore() {
    for without in [
        None,
        Some(Rule::Owner),
        Some(Rule::Lease),
        Some(Rule::Skew),
        Some(Rule::LeaseUntilAsSeen),
        Some(Rule::Terminal),
        Some(Rule::HalfALease),
        Some(Rule::HalfALeaseAfterRenewing),
        Some(Rule::RetryableAsSeen),
        Some(Rule::LeaseOnlyGrows),
        Some(Rule::StopAtTheEnd),
        Some(Rule::OwnFailure),
        Some(Rule::ThirdIsFinal),
        Some(Rule::FinalOnceCalled),
    ] {
        let start = std::time::Instant::now();
        let mut counts = HashMap::new();
        let found = search(without, &mut counts);
        eprintln!("{without:?}: {found:?} in {:?}", start.elapsed());
        if without.is_none() {
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort();
            for (name, count) in counts {
                eprintln!("{count:>8} {name}");
            }
            if let Some((_, seed, ..)) = found {
                for line in schedule::run(seed, without, &Trouble::ALL, true, &mut HashMap::new()).trace {
                    eprintln!("{line}");
                }
            }
        }
    }
}
