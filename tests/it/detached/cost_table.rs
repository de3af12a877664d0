//! The costs that docs/long-runs.md names are those that `cargo bench --bench cost` computes from what it counts.

use super::*;

#[path = "../../../benches/long_runs/mod.rs"]
mod long_runs;
#[path = "../../../benches/prices/mod.rs"]
#[allow(dead_code, reason = "a token's price is for the other benchmark")]
mod prices;

/// The function's own time of an invocation in milliseconds, which docs/performance.md measures.
const OWN_MS: f64 = 2.15;

#[tokio::test]
async fn the_page_about_long_runs_names_what_is_counted() {
    let stack = stack().await;
    let function = stack.function(&[REPORT_URL]).await;
    let rows = long_runs::rows(&stack, &function, OWN_MS).await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/long-runs.md")).unwrap();
    let further = long_runs::of_step_functions();
    let lines = rows.iter().map(|row| row.join(" | ")).chain(further.iter().map(|row| row.join(" | ")));
    let lines = lines.map(|line| format!("| {line} |"));
    let missing: Vec<_> = lines.filter(|line| !page.contains(line)).collect();
    assert!(missing.is_empty(), "docs/long-runs.md lacks these rows:\n{}", missing.join("\n"));
}
