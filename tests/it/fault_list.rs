//! The list of faults (tests/FAULTS.md) and the tests named after it: none without the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;

/// The numbers of the list, each with whether its tests are still to come.
fn listed() -> BTreeMap<u32, bool> {
    let mut faults = BTreeMap::new();
    for line in include_str!("../FAULTS.md").lines() {
        let Some((number, text)) = line.split_once(". ") else { continue };
        let Ok(number) = number.parse() else { continue };
        assert_eq!(faults.insert(number, text.starts_with("*Not yet: ")), None, "fault {number} is listed twice");
    }
    faults
}

/// The names of the tests in `folder` and below that begin with the number of a fault, as in `f25_…`.
fn named(folder: &Path, names: &mut Vec<(u32, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(fs::read_to_string(&path).unwrap().lines().filter_map(numbered));
        }
    }
}

/// The fault's number and the function's name, if this line begins such a function.
fn numbered(line: &str) -> Option<(u32, String)> {
    let line = line.trim_start();
    let (name, _) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn f")?.split_once('(')?;
    let (digits, _) = name.split_once('_')?;
    Some((digits.parse().ok()?, format!("f{name}")))
}

#[test]
fn every_fault_has_a_test_and_every_numbered_test_a_fault() {
    let faults = listed();
    let numbers: Vec<u32> = faults.keys().copied().collect();
    assert_eq!(numbers, (1..=76).collect::<Vec<_>>(), "tests/FAULTS.md leaves no number out");
    let mut names = Vec::new();
    named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut names);
    let tested: BTreeSet<u32> = names.iter().map(|(number, _)| *number).collect();
    let missing: Vec<u32> = faults
        .iter()
        .filter(|(number, later)| !**later && !tested.contains(number))
        .map(|(number, _)| *number)
        .collect();
    assert!(missing.is_empty(), "no test for the faults {missing:?}");
    let unlisted: Vec<&String> =
        names.iter().filter(|(number, _)| !faults.contains_key(number)).map(|(_, name)| name).collect();
    assert!(unlisted.is_empty(), "tests/FAULTS.md lists no fault for {unlisted:?}");
    let later = faults.values().filter(|later| **later).count();
    // Past libtest's capture: whoever runs the tests wants to see it.
    let counted = format!("{} faults with {} tests, {later} faults to come", faults.len() - later, names.len());
    writeln!(std::io::stdout(), "{counted}").unwrap();
}

#[test]
fn only_a_function_named_after_a_fault_counts() {
    assert_eq!(numbered("async fn f07_again() {"), Some((7, "f07_again".to_owned())));
    assert_eq!(numbered("    fn f77_unlisted() {"), Some((77, "f77_unlisted".to_owned())));
    for line in ["fn from_name(name: &str) {", "fn f7(x: u8) {", "let fn f07_x", "// fn f07_x()", "fn f_07()"] {
        assert_eq!(numbered(line), None, "{line}");
    }
}
