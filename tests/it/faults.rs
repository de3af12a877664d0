//! That no numbered fault is left without a case, and how many there are.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

const FAULTS: u32 = 55;

#[test]
fn every_numbered_fault_has_a_case() {
    let mut cases = BTreeMap::<u32, usize>::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        for name in source.lines().filter_map(|line| line.strip_prefix("async fn f").or(line.strip_prefix("fn f"))) {
            if let Some(number) = name.get(..2).and_then(|digits| digits.parse().ok()) {
                *cases.entry(number).or_default() += 1;
            }
        }
    }
    let missing: Vec<u32> = (1..=FAULTS).filter(|number| !cases.contains_key(number)).collect();
    assert!(missing.is_empty(), "no case for the faults {missing:?}");
    // Past libtest's capture: whoever runs the tests wants to see it.
    writeln!(std::io::stdout(), "{FAULTS} numbered faults, {} cases", cases.values().sum::<usize>()).unwrap();
}
