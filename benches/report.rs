//! Renders docs/performance.md and its plot from the results that the other benchmarks saved.
//!
//! `cargo bench --bench report`, after `cargo bench` or after any of the benchmarks.

use std::fs;
use std::path::Path;

use harness::{Report, say, svg};

const NAMES: [&str; 9] = ["start", "trust", "choices", "run", "manage", "stream", "concurrency", "cost", "size"];

fn main() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = docs.join("performance.md");
    let mut text = fs::read_to_string(&page).expect("docs/performance.md is there");
    let mut aims = Vec::new();
    for report in NAMES.into_iter().filter_map(Report::kept) {
        text = with_section(&text, &report.name, &report.markdown());
        say(&format!("rendered {}", report.name));
        aims.extend(report.aims);
    }
    fs::write(&page, text).expect("docs/performance.md can be written");
    fs::write(docs.join("performance.svg"), svg::draw(&aims)).expect("docs can be written");
}

/// Replaces the part of `text` between the two marks of this name.
fn with_section(text: &str, name: &str, section: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/performance.md has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("docs/performance.md has no {end}"));
    format!("{before}{begin}\n{section}\n{end}{after}")
}
