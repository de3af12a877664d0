//! Measures what the function's binary consists of, by crate, and the size of the zip that Lambda gets.
//!
//! `cargo bench --bench size`, after `cargo lambda build --release --output-format zip --bin agent-trigger` for the zip.
//! Generic code counts for the crate that defines it, wherever it is used.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Report, samples::digits, samples::mib, say};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Only the last build step is repeated: with symbols, which tell which crate the code belongs to.
    let rustc = ["rustc", "--release", "--bin", "agent-trigger", "--", "-C", "strip=none"];
    let built = Command::new(env!("CARGO")).args(rustc).status();
    assert!(built.is_ok_and(|status| status.success()), "the function must build");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release").join("agent-trigger");
    let nm = Command::new("nm").args(["--print-size", "--demangle=rust"]).arg(binary).output();
    let nm = nm.expect("nm, of binutils, lists the symbols");

    let direct = direct_dependencies();
    let mut sizes: HashMap<String, u64> = direct.iter().map(|name| (name.clone(), 0)).collect();
    for line in String::from_utf8_lossy(&nm.stdout).lines() {
        let mut fields = line.splitn(4, ' ');
        let (Some(_), Some(size), Some("t" | "T"), Some(name)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        *sizes.entry(crate_of(name)).or_default() += u64::from_str_radix(size, 16).unwrap_or_default();
    }
    let all: u64 = sizes.values().sum();
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), name.clone()));
    let share =
        |size: u64| [format!("{} KiB", size.div_ceil(1024)), format!("{} %", digits(100.0 * size as f64 / all as f64))];
    let row = |(name, size): &(String, u64)| {
        let [kib, percent] = share(*size);
        let is_direct = if direct.contains(name) { "direct" } else { "" };
        [name.clone(), is_direct.to_owned(), kib, percent]
    };
    let (shown, more): (Vec<_>, Vec<_>) =
        sizes.iter().enumerate().partition(|(rank, (name, _))| *rank < 20 || direct.contains(name));
    let mut rows: Vec<_> = shown.iter().map(|(_, size)| row(size)).collect();
    rows.push(row(&(format!("{} more", more.len()), more.iter().map(|(_, (_, size))| size).sum())));

    let mut report = Report::new("size");
    let caption = format!(
        "Of {} MiB of code, the 20 crates with most of it and all direct dependencies. What others inline, and data such \
         as the certificates of webpki_roots, is not the crate's own code:",
        digits(mib(all))
    );
    report.table(&caption, ["crate", "", "code", "share"], rows);
    match fs::metadata(root.join("target/lambda/agent-trigger/bootstrap.zip")) {
        // .ci/run has the same limit, and fails above it.
        Ok(zip) => report.aim("The x86-64 zip", mib(zip.len()), "MiB", 3.8e6 / 1024.0 / 1024.0),
        Err(_) => say("there is no zip: build it with cargo lambda"),
    }
    report.finish();
}

/// Returns the crates that the function's manifest names, spelled as in symbols.
fn direct_dependencies() -> HashSet<String> {
    let tree = ["tree", "--package", "agent-trigger", "--depth", "1", "--edges", "normal", "--prefix", "none"];
    let tree = Command::new(env!("CARGO")).args(tree).output().expect("cargo runs");
    assert!(tree.status.success(), "cargo lists dependencies: {}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    tree.lines().skip(1).filter_map(|line| Some(line.split_once(' ')?.0.replace('-', "_"))).collect()
}

/// Returns the crate that a function belongs to. For a trait's function, it is the first crate that the symbol names.
fn crate_of(symbol: &str) -> String {
    let path = symbol.trim_start_matches(|c: char| !c.is_ascii_alphabetic() && c != '_');
    let path = ["dyn ", "mut ", "const "].into_iter().fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
    match path.split_once("::") {
        Some((name, _)) if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => name.to_owned(),
        None if path.starts_with("mi_") || path.starts_with("_mi_") => "mimalloc".to_owned(),
        _ => "C: aws-lc, and symbols without a path".to_owned(),
    }
}
