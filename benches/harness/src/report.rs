//! The report that a benchmark prints, and saves for `cargo bench --bench report`.

use std::fs;
use std::io::Write;

use comfy_table::{Table as Printed, presets::ASCII_MARKDOWN};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::programs::target;
use crate::samples::digits;

/// The outcome of a benchmark.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The benchmark's name, as in `cargo bench --bench NAME`.
    pub name: String,
    /// Tables, in order.
    pub tables: Vec<Table>,
    /// The benchmark's aims and whether they were met.
    pub aims: Vec<Aim>,
}

/// A table of figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// The text above the table: what it shows and how it was measured.
    pub caption: String,
    /// The headings of the columns.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// A figure that should stay below a limit. Missing the aim fails nothing, because times depend on the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Aim {
    /// The name of the figure.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// The limit that the figure should stay below.
    pub limit: f64,
    /// The unit: `ms`, `MiB`, or `×` for a ratio.
    pub unit: String,
}

impl Report {
    /// Returns an empty report.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds a table.
    pub fn table<const N: usize>(&mut self, caption: &str, header: [&str; N], rows: Vec<[String; N]>) {
        self.tables.push(Table {
            caption: caption.to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: rows.into_iter().map(Vec::from).collect(),
        });
    }

    /// Adds an aim.
    pub fn aim(&mut self, what: &str, value: f64, unit: &str, limit: f64) {
        self.aims.push(Aim { what: what.to_owned(), value, limit, unit: unit.to_owned() });
    }

    /// Returns the report as Markdown, which is also what is printed.
    pub fn markdown(&self) -> String {
        let aims = Table {
            caption: "Aims:".to_owned(),
            header: ["", "measured", "aim", ""].map(str::to_owned).to_vec(),
            rows: self.aims.iter().map(Aim::row).collect(),
        };
        let tables = self.tables.iter().chain((!self.aims.is_empty()).then_some(&aims));
        tables.map(Table::markdown).collect::<Vec<_>>().join("\n")
    }

    /// Prints the report and saves it.
    ///
    /// # Panics
    /// If the report cannot be written.
    pub fn finish(&self) {
        say(&format!("\n{}", self.markdown()));
        let folder = target().join("bench");
        let json = serde_json::to_vec_pretty(self).expect("a report is JSON");
        let kept =
            fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(format!("{}.json", self.name)), json));
        kept.expect("the target directory can be written");
    }

    /// Returns the last saved report of this name.
    pub fn kept(name: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(target().join("bench").join(format!("{name}.json"))).ok()?).ok()
    }
}

impl Aim {
    fn row(&self) -> Vec<String> {
        let met = if self.value < self.limit { "met" } else { "missed" };
        let show = |value| format!("{} {}", digits(value), self.unit);
        vec![self.what.clone(), show(self.value), format!("under {}", show(self.limit)), met.to_owned()]
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut table = Printed::new();
        table.load_preset(ASCII_MARKDOWN).set_header(&self.header).add_rows(&self.rows);
        format!("{}\n\n{}\n", self.caption, table.lines().map(|line| line.trim().to_owned() + "\n").collect::<String>())
    }
}

/// Prints a line.
pub fn say(line: &str) {
    // A reader that has gone away is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Returns a progress bar for a step that takes a while.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what)
}
