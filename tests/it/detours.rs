//! The ways past the claim: the variants in the code, their uses, the table in tests/DETOURS.md and the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use agent_trigger::domain::detour::Detour;
use strum::VariantArray;

/// The text of all files of Rust in `folder` and below.
fn sources(folder: &str) -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut text);
    text
}

/// The names between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_detour_is_taken_listed_and_tested() {
    let (source, tests) = (sources("src"), sources("tests/it"));
    let rows = include_str!("../DETOURS.md").lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let listed: Vec<&str> = rows.iter().map(|row| quoted(row[0])[0]).collect();
    let known: Vec<&str> = Detour::VARIANTS.iter().map(|detour| detour.as_str()).collect();
    assert_eq!(listed, known, "tests/DETOURS.md lists the variants in their order");
    let uses: BTreeSet<String> = source
        .split("Detour::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|char| char.is_ascii_alphanumeric()).collect())
        .collect();
    for detour in Detour::VARIANTS {
        assert!(uses.contains(&format!("{detour:?}")), "src takes no {detour:?}");
    }
    for row in &rows {
        let names = quoted(row[3]);
        assert!(!names.is_empty() || row[3].starts_with("none: "), "no test of {}", row[0]);
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "no test {name} in tests/it");
        }
    }
}
