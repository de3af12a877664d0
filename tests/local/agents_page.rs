//! Checks that docs/agents.md tells the truth: each answer on it is recorded as the line below it says, and each program
//! on it is a file of the sample agents.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{decode, message, recorded};

/// A sample on the page, and what it says is recorded.
struct Sample {
    line: usize,
    status: u16,
    content_type: String,
    body: String,
    says: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/agents.md")).unwrap()
}

/// The blocks of code in this language: the number of the line after its beginning, the text, and the lines around it.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<(usize, String, &'a str, &'a str)> {
    let lines: Vec<_> = page.lines().collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| **line == format!("```{language}"));
    let block = |(at, _): (usize, _)| {
        let length = lines[at + 1..].iter().position(|line| *line == "```").unwrap();
        let text = lines[at + 1..at + 1 + length].iter().map(|line| format!("{line}\n")).collect();
        let below = lines[at + length + 2..].iter().find(|line| !line.is_empty()).copied().unwrap_or_default();
        (at + 2, text, lines[at - 1], below)
    };
    begins.map(block).collect()
}

fn samples(page: &str) -> Vec<Sample> {
    let sample = |(line, text, _, below): (usize, String, &str, &str)| {
        let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("line {line}: no blank line"));
        let (first, header) = head.split_once('\n').unwrap();
        let status = first.strip_prefix("HTTP/1.1 ").unwrap().split(' ').next().unwrap().parse().unwrap();
        let content_type = header.strip_prefix("Content-Type: ").unwrap().to_owned();
        let says = below.strip_prefix("→ ").unwrap_or_else(|| panic!("line {line}: no result below it: {below}"));
        Sample { line, status, content_type, body: body.to_owned(), says: says.to_owned() }
    };
    blocks(page, "http").into_iter().map(sample).collect()
}

/// Spells what is recorded as the page does.
fn said(sample: &Sample, size: usize) -> String {
    let outcome = decode(sample.status, &sample.content_type, sample.body.as_bytes(), size);
    let (status, error_type) = recorded(&outcome.verdict);
    let mut said = format!("`{status}`");
    if let Some(error_type) = error_type {
        said.push_str(&format!(", `{error_type}`"));
    }
    if let Some(reason) = outcome.finish_reason {
        said.push_str(&format!(", finishReason `{reason}`"));
    }
    said.push_str(&format!(", protocol `{}`", outcome.protocol));
    if let Some(message) = message(&outcome) {
        said.push_str(&format!(", error `{message}`"));
    }
    if let Some(output) = &outcome.output {
        said.push_str(&format!(", answer `{}`", output.text.trim_end_matches('\n')));
    }
    if let Some(usage) = outcome.progress.usage {
        said.push_str(&format!(", tokens `{} / {}`", usage.input_tokens, usage.output_tokens));
    }
    said
}

#[test]
fn every_answer_on_the_page_is_recorded_as_it_says() {
    let samples = samples(&page());
    assert!(samples.len() > 30, "{} samples", samples.len());
    let differ = |sample: &Sample| {
        let found = [1, 7, usize::MAX].map(|size| said(sample, size)).into_iter().find(|found| *found != sample.says);
        found.map(|found| format!("docs/agents.md:{}: {found}\n  but the page says: {}", sample.line, sample.says))
    };
    let differ: Vec<_> = samples.iter().filter_map(differ).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn every_protocol_in_the_table_has_a_sample() {
    let page = page();
    let table = page.split_once("| `protocol` | recognised by |").unwrap().1.split_once("\n\n").unwrap().0;
    let named = table.lines().skip(2).filter_map(|row| row.split('`').nth(1));
    let samples = samples(&page);
    for name in named {
        assert!(samples.iter().any(|sample| sample.says.contains(&format!("protocol `{name}`"))), "{name}");
    }
}

#[test]
fn every_program_on_the_page_is_a_sample_agent() {
    let page = page();
    let programs = blocks(&page, "python");
    assert_eq!(programs.len(), 3);
    for (line, text, above, _) in programs {
        let path = above.strip_prefix("<!-- ").and_then(|above| above.strip_suffix(" -->"));
        let path = path.unwrap_or_else(|| panic!("docs/agents.md:{line}: does not say which file it is"));
        assert_eq!(text, fs::read_to_string(root().join(path)).unwrap(), "docs/agents.md:{line} and {path} differ");
    }
    let fastapi = fs::read_to_string(root().join("examples/agents/fastapi_agent.py")).unwrap();
    assert_eq!(fastapi.lines().count(), 20, "the page promises 20 lines");
}
