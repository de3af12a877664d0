//! What runs cost: the tables of docs/cost.md against the benchmark's in docs/performance.md.

use std::path::Path;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Returns the cells of each row of the first table whose header begins so.
fn rows(page: &str, first: &str) -> Vec<Vec<String>> {
    let begin = page.lines().position(|line| line.starts_with('|') && line.trim_matches(['|', ' ']).starts_with(first));
    let lines = page.lines().skip(begin.unwrap() + 2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_page_repeats_the_figures_of_the_benchmark() {
    let measured = rows(&page("performance.md"), "1,000 runs of");
    assert_eq!(rows(&page("cost.md"), "1,000 runs of"), measured);
    assert_eq!(measured.len(), 3);
}

#[test]
fn the_examples_are_computed_from_these_figures() {
    let of = |time: &str, column: usize| {
        let measured = rows(&page("performance.md"), "1,000 runs of");
        let row = measured.into_iter().find(|row| row[0] == time).unwrap();
        row[column].parse::<f64>().unwrap()
    };
    let examples = rows(&page("cost.md"), "what | runs");
    assert_eq!(examples.len(), 4);
    for row in examples {
        let [what, runs, time, month] = row.as_slice() else { panic!("four cells: {row:?}") };
        // All cold, without the token where no token is needed.
        let each = of(time, 6) - if what.contains("`iam`") { of(time, 5) } else { 0.0 };
        let runs: f64 = runs.replace(',', "").parse().unwrap();
        assert_eq!(*month, format!("${:.2}", each * runs / 1000.0), "{what}");
    }
}
