//! The tables of docs/schedules.md against what the control plane makes of the expressions in them.

use std::{fs, path::Path};

use agent_trigger_api::schedules::{expression::Expression, schedule::Schedule};
use serde_json::json;

/// Returns the rows of the table with this header, each as its two cells without backticks.
fn rows(header: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schedules.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once(&format!("| {header} |\n| --- | --- |\n")).unwrap();
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.trim_matches(['|', ' ']).split_once(" | ").unwrap());
    cells.map(|(left, right)| (left.replace('`', ""), right.replace('`', ""))).collect()
}

#[test]
fn the_book_says_in_words_what_the_control_plane_says() {
    let rows = rows("expression | in words");
    assert!(rows.len() > 5, "{rows:?}");
    for (expression, words) in rows {
        let schedule = Schedule::read(json!({"expression": expression}).as_object().unwrap()).unwrap();
        assert_eq!(schedule.describe(), words, "{expression}");
    }
}

#[test]
fn the_book_translates_five_fields_as_the_control_plane_does() {
    let rows = rows("five fields | what Scheduler gets");
    assert!(rows.len() > 4, "{rows:?}");
    for (fields, expected) in rows {
        for given in [fields.clone(), format!("cron({fields})")] {
            assert_eq!(Expression::parse(&given).unwrap().canonical(), expected, "{given}");
        }
    }
}
