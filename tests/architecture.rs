//! Keeps the rules that docs/ARCHITECTURE.md and CONTRIBUTING.md give for `src/`: which layer may import which, where
//! the types of other crates may appear, how long files and functions may be, and which functions need a doc comment. Each
//! rule is data at the top of this file. Unit tests are exempt from all rules but the length of a file.
//!
//! The sources are read as tokens, without a parser: rustfmt and the compiler have checked their form already, and a
//! parser would be one more dependency in every build of the tests and the examples.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The layers, the lowest first. A room is a folder or a file directly under `src/`. It may import from lower layers,
/// and from its own layer unless that layer's rooms are separate.
const LAYERS: [(&[&str], Rooms); 9] = [
    (&["backoff", "clock", "error_chain", "redact", "shutdown"], Rooms::Joined),
    (&["json"], Rooms::Joined),
    (&["domain"], Rooms::Joined),
    (&["config"], Rooms::Joined),
    (&["agent", "clients", "events", "response", "store", "telemetry"], Rooms::Separate),
    (&["agents", "app", "lifecycle", "trigger"], Rooms::Joined),
    (&["invocation"], Rooms::Joined),
    (&["routing", "run", "settle"], Rooms::Separate),
    (&["handler", "lib", "main", "runtime"], Rooms::Joined),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rooms {
    Joined,
    Separate,
}

/// Names that may appear only in these rooms. A name that ends in `*` stands for all that begin so.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("aws_sdk_*", &["clients", "store"]),
    ("aws_smithy_*", &["clients", "store"]),
    ("AttributeValue", &["store"]),
    ("aws_config", &["clients", "store"]),
    ("SdkConfig", &["clients", "store"]),
    ("reqwest", &["agent", "clients"]),
];

/// Names that must not appear in these rooms, because they hold decisions only.
const NOT_IN: [(&str, &[&str]); 4] = [
    ("async", &["domain", "json"]),
    ("await", &["domain", "json"]),
    ("http", &["domain", "json"]),
    ("tokio", &["domain", "json"]),
];

/// The fewest and the most lines of a file, and the most of a function.
const FEWEST_LINES: usize = 25;
const MOST_LINES: usize = 450;
const MOST_LINES_OF_HANDLER: usize = 129;
const MOST_LINES_OF_FUNCTION: usize = 80;

/// A function of this many lines or more needs a doc comment, unless its trait has one.
const LEAST_LINES_TO_DOCUMENT: usize = 12;

/// Source files by their path under `src/`.
type Tree = BTreeMap<String, Source>;
/// Imports from a file to a file.
type Edges = BTreeSet<(String, String)>;

struct Source {
    lines: usize,
    /// The tokens outside unit tests.
    tokens: Vec<Token>,
    /// The lines, from 1, that are doc comments.
    documented: BTreeSet<usize>,
}

impl Source {
    fn new(text: &str) -> Self {
        let is_doc = |(_, line): &(usize, &str)| line.trim_start().starts_with("///");
        let documented = (1..).zip(text.lines()).filter(is_doc).map(|(number, _)| number).collect();
        Self { lines: text.lines().count(), tokens: without_tests(tokens(text)), documented }
    }
}

/// A word, a number, `::`, or one other character. Comments are left out, and a literal text is one `"`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, word) = next_token(rest, first);
        let (taken, behind) = rest.split_at(length);
        found.extend(word.map(|word| Token { text: word.to_owned(), line }));
        line += taken.matches('\n').count();
        rest = behind;
    }
    found
}

/// Returns the length of the text's first token, comment or space, and the token.
fn next_token(text: &str, first: char) -> (usize, Option<&str>) {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let until = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if text.starts_with("//") {
        return (until("\n"), None);
    }
    if text.starts_with("/*") {
        return (until("*/"), None);
    }
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    let prefix = text.find(|char| !"bcr".contains(char)).unwrap_or(text.len());
    let hashes = text[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    if text[prefix + hashes..].starts_with('"') && (hashes == 0 || prefix > 0) {
        let start = prefix + hashes + 1;
        let is_raw = text[..prefix].contains('r');
        return (start + literal_length(&text[start..], is_raw, hashes), Some("\""));
    }
    if first == '\'' {
        // A lifetime has no second quote behind its first character.
        let mut chars = text[1..].chars();
        return match (chars.next(), chars.next()) {
            (Some('\\'), _) => (3 + text[3..].find('\'').unwrap_or_default() + 1, Some("\"")),
            (Some(char), Some('\'')) => (2 + char.len_utf8(), Some("\"")),
            _ => (1, Some("'")),
        };
    }
    let length = match text.find(|char| !is_word(char)).unwrap_or(text.len()) {
        0 if text.starts_with("::") => 2,
        0 => first.len_utf8(),
        length => length,
    };
    (length, Some(&text[..length]))
}

/// Returns the length of a literal text with its closing quote.
fn literal_length(text: &str, is_raw: bool, hashes: usize) -> usize {
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return text.find(&end).map_or(text.len(), |at| at + end.len());
    }
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return at + 1,
            // The byte behind a backslash never ends the text.
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    text.len()
}

/// Returns true if the tokens at `at` are these words.
fn is_at(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(offset, word)| tokens.get(at + offset).is_some_and(|token| token.text == *word))
}

/// Returns the place behind the item that begins at `at`: behind its body, or behind its semicolon.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let (mut parentheses, mut braces) = (0_usize, 0_usize);
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" => parentheses += 1,
            ")" | "]" => parentheses = parentheses.saturating_sub(1),
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                if braces == 0 && parentheses == 0 {
                    return place + 1;
                }
            }
            ";" if braces == 0 && parentheses == 0 => return place + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Leaves out every item with `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if is_at(&tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(&tokens, at + 7);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Returns the module path of a file.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_suffix("/mod.rs").or(file.strip_suffix(".rs")).unwrap_or(file);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Returns every path that a file names, its imports resolved, without the leading `crate`.
fn paths(file: &str, tokens: &[Token]) -> Vec<Vec<String>> {
    let module = module_of(file);
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for at in 0..tokens.len() {
        if is_at(tokens, at, &["mod"]) && is_at(tokens, at + 2, &[";"]) {
            let child = tokens[at + 1].text.clone();
            names.insert(child.clone(), [&module[..], &[child]].concat());
        }
    }
    let resolve = |names: &BTreeMap<String, Vec<String>>, path: &[String]| -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let supers = path.iter().take_while(|name| *name == "super").count();
        let (start, rest) = match first.as_str() {
            "crate" | "agent_trigger" => (Vec::new(), rest),
            "self" => (module.clone(), rest),
            "super" => (module[..module.len().saturating_sub(supers)].to_vec(), &path[supers..]),
            name => (names.get(name)?.clone(), rest),
        };
        (path.len() > 1).then(|| [&start[..], rest].concat())
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_use = tokens[at].text == "use" && !is_at(tokens, at + 1, &["<"]);
        if is_use {
            let end = end_of_use(tokens, at);
            for path in use_paths(&tokens[at + 1..end]) {
                if let Some(resolved) = resolve(&names, &path.path) {
                    names.insert(path.name, resolved.clone());
                    found.push(resolved);
                }
            }
            at = end;
        } else if is_at(tokens, at + 1, &["::"]) && (at == 0 || tokens[at - 1].text != "::") {
            let mut path = vec![tokens[at].text.clone()];
            while is_at(tokens, at + 1, &["::"]) && tokens.len() > at + 2 {
                path.push(tokens[at + 2].text.clone());
                at += 2;
            }
            found.extend(resolve(&names, &path));
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

fn end_of_use(tokens: &[Token], at: usize) -> usize {
    tokens.iter().skip(at).position(|token| token.text == ";").map_or(tokens.len(), |offset| at + offset)
}

/// One name that a `use` brings in.
struct Used {
    path: Vec<String>,
    name: String,
}

/// Expands the tree of a `use` into its paths.
fn use_paths(tokens: &[Token]) -> Vec<Used> {
    let mut found = Vec::new();
    // The prefix of each open brace.
    let mut prefixes: Vec<Vec<String>> = vec![Vec::new()];
    let mut path: Vec<String> = Vec::new();
    let mut alias = None;
    let mut words = tokens.iter().map(|token| token.text.as_str()).chain([","]).peekable();
    while let Some(word) = words.next() {
        match word {
            "{" => {
                prefixes.push(std::mem::take(&mut path));
                path.extend(prefixes.last().into_iter().flatten().cloned());
            }
            "," | "}" => {
                let prefix = prefixes.last().cloned().unwrap_or_default();
                if path.len() > prefix.len() {
                    if path.last().is_some_and(|name| name == "self") && path.len() > 1 {
                        path.pop();
                    }
                    let name = alias.take().or(path.last().cloned()).unwrap_or_default();
                    found.push(Used { path, name });
                }
                if word == "}" {
                    prefixes.pop();
                    // What a group stands for has been found; only its own prefix follows.
                    path = prefixes.last().cloned().unwrap_or_default();
                } else {
                    path = prefix;
                }
            }
            "as" => alias = words.next().map(str::to_owned),
            "::" => {}
            word => path.push(word.to_owned()),
        }
    }
    found
}

/// Returns which file of the tree imports which.
fn edges(tree: &Tree) -> Edges {
    let modules: BTreeMap<Vec<String>, &String> = tree.keys().map(|file| (module_of(file), file)).collect();
    let file_of = |path: &[String]| (0..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied());
    let mut edges = Edges::new();
    for (file, source) in tree {
        for path in paths(file, &source.tokens) {
            edges.extend(file_of(&path).filter(|target| *target != file).map(|target| (file.clone(), target.clone())));
        }
    }
    edges
}

fn layer_of(file: &str) -> Option<usize> {
    LAYERS.iter().position(|(rooms, _)| rooms.contains(&room_of(file)))
}

/// Returns true if the layers allow an import.
fn is_allowed(from: &str, to: &str) -> bool {
    let (Some(above), Some(below)) = (layer_of(from), layer_of(to)) else { return false };
    above > below || (above == below && (room_of(from) == room_of(to) || LAYERS[above].1 == Rooms::Joined))
}

/// Returns every import that the layers forbid.
fn upward(edges: &Edges) -> Vec<String> {
    let forbidden = edges.iter().filter(|(from, to)| !is_allowed(from, to));
    forbidden.map(|(from, to)| format!("{from} must not import from {to}")).collect()
}

/// Returns the files that each file imports, directly or through others.
fn reachable(edges: &Edges) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut imports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges {
        imports.entry(from).or_default().push(to);
    }
    let mut reached = BTreeMap::new();
    for start in imports.keys().copied() {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            open.extend(imports.get(file).into_iter().flatten().filter(|to| seen.insert(**to)));
        }
        reached.insert(start, seen);
    }
    reached
}

/// Returns every set of files that import each other in a circle.
fn circles(edges: &Edges) -> Vec<String> {
    let reached = reachable(edges);
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
    let circle_of = |file: &&str| {
        let mut circle = reached.keys().filter(|other| reaches(file, other) && reaches(other, file)).copied();
        reaches(file, file).then(|| circle.by_ref().collect::<Vec<_>>().join(", "))
    };
    let circles: BTreeSet<String> = reached.keys().filter_map(circle_of).collect();
    circles.into_iter().map(|files| format!("a circle of imports: {files}")).collect()
}

/// Returns every name that stands where it must not.
fn misplaced(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, source) in tree {
        let room = room_of(file);
        for Token { text, line } in &source.tokens {
            let is_name = |name: &str| name.strip_suffix('*').map_or(text == name, |start| text.starts_with(start));
            let elsewhere = ONLY_IN.iter().any(|(name, rooms)| is_name(name) && !rooms.contains(&room));
            let forbidden = NOT_IN.iter().any(|(name, rooms)| is_name(name) && rooms.contains(&room));
            if elsewhere || forbidden {
                found.push(format!("{file}:{line}: {text} must not appear here"));
            }
        }
    }
    found
}

/// Returns every name that a file passes on as if it were its own.
fn passed_on(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, Source { tokens, .. }) in tree {
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "pub") {
            let behind = if is_at(tokens, at + 1, &["("]) {
                tokens.iter().skip(at).position(|token| token.text == ")").map_or(tokens.len(), |end| at + end + 1)
            } else {
                at + 1
            };
            if is_at(tokens, behind, &["use"]) {
                found.push(format!("{file}:{}: pub use", token.line));
            }
        }
    }
    found
}

/// Returns every file and every function whose length is outside its limits.
fn wrong_lengths(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, Source { lines, tokens, .. }) in tree {
        let most = if file == "handler.rs" { MOST_LINES_OF_HANDLER } else { MOST_LINES };
        let is_short = *lines < FEWEST_LINES && !file.ends_with("mod.rs");
        if *lines > most || is_short {
            found.push(format!("{file}: has {lines} lines"));
        }
        for at in (0..tokens.len().saturating_sub(1)).filter(|at| tokens[*at].text == "fn") {
            let (name, end) = (&tokens[at + 1], end_of_item(tokens, at));
            // The type of a function has no name.
            if name.text.starts_with(|char: char| char.is_alphabetic() || char == '_') {
                let lines = tokens[end - 1].line - tokens[at].line + 1;
                if lines > MOST_LINES_OF_FUNCTION {
                    found.push(format!("{file}:{}: {} has {lines} lines", name.line, name.text));
                }
            }
        }
    }
    found
}

/// Returns the first line of the item whose `fn` is at `at`: that of its attributes, or of its first qualifier.
fn first_line(tokens: &[Token], at: usize) -> usize {
    const QUALIFIERS: [&str; 8] = ["pub", "(", ")", "crate", "super", "const", "async", "unsafe"];
    let mut first = at;
    while first > 0 && QUALIFIERS.contains(&tokens[first - 1].text.as_str()) {
        first -= 1;
    }
    while first > 0 && tokens[first - 1].text == "]" {
        first = tokens[..first].iter().rposition(|token| token.text == "#").unwrap_or_default();
    }
    tokens[first].line
}

/// Returns the places within the implementations of traits, whose functions the trait documents.
fn in_trait_impls(tokens: &[Token]) -> BTreeSet<usize> {
    let mut places = BTreeSet::new();
    for at in (0..tokens.len()).filter(|at| tokens[*at].text == "impl") {
        // `impl` also stands in types, which end before any brace or in one of a body.
        let is_item = at == 0 || matches!(tokens[at - 1].text.as_str(), "}" | ";" | "]" | "{" | "unsafe");
        let body = tokens.iter().skip(at).position(|token| token.text == "{").map_or(tokens.len(), |open| at + open);
        let is_of_trait = tokens[at..body].iter().enumerate().any(|(offset, token)| {
            // `for<'a>` stands in bounds.
            token.text == "for" && !is_at(tokens, at + offset + 1, &["<"])
        });
        if is_item && is_of_trait {
            places.extend(at..end_of_item(tokens, at));
        }
    }
    places
}

/// Returns every long function without a doc comment, but for those of trait implementations.
fn undocumented(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, Source { tokens, documented, .. }) in tree {
        let of_traits = in_trait_impls(tokens);
        let functions = (0..tokens.len().saturating_sub(1)).filter(|at| tokens[*at].text == "fn");
        for at in functions.filter(|at| !of_traits.contains(at)) {
            let (name, end) = (&tokens[at + 1], end_of_item(tokens, at));
            let is_named = name.text.starts_with(|char: char| char.is_alphabetic() || char == '_');
            let first = first_line(tokens, at);
            let is_long = tokens[end - 1].line - tokens[at].line + 1 >= LEAST_LINES_TO_DOCUMENT;
            if is_named && is_long && !documented.contains(&(first - 1)) {
                found.push(format!("{file}:{}: {} needs a doc comment", name.line, name.text));
            }
        }
    }
    found
}

fn read_tree(root: &Path, folder: &str, tree: &mut Tree) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            read_tree(root, &path, tree);
        } else if path.ends_with(".rs") {
            tree.insert(path, Source::new(&fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

fn source_tree() -> Tree {
    let mut tree = Tree::new();
    read_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut tree);
    tree
}

/// The control plane's rooms in which the SDKs' types may appear. `api.rs` builds the shared configuration.
const SDK_ROOMS_OF_API: [&str; 3] = ["api", "clients", "store"];

fn api_tree() -> Tree {
    package_tree("api/src")
}

/// Reads the source of another package than the run function's.
fn package_tree(folder: &str) -> Tree {
    let mut tree = Tree::new();
    read_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "", &mut tree);
    assert!(tree.len() > 15, "{:?}", tree.keys());
    tree
}

/// Fails with one finding on each line.
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn imports_go_downwards_and_in_no_circle() {
    let all = edges(&source_tree());
    assert!(all.len() > 100, "the imports were read");
    assert_none(&[upward(&all), circles(&all)].concat());
}

#[test]
fn each_room_has_a_layer_and_each_layer_its_rooms() {
    let tree = source_tree();
    let rooms: BTreeSet<&str> = tree.keys().map(|file| room_of(file)).collect();
    let layered: BTreeSet<&str> = LAYERS.iter().flat_map(|(rooms, _)| rooms.iter().copied()).collect();
    assert_eq!(rooms, layered);
}

#[test]
fn types_of_other_crates_stay_in_their_rooms() {
    assert_none(&misplaced(&source_tree()));
}

#[test]
fn each_name_has_one_place() {
    assert_none(&passed_on(&source_tree()));
}

#[test]
fn the_control_plane_keeps_the_rules_too() {
    let tree = api_tree();
    let mut found = wrong_lengths(&tree);
    found.extend(passed_on(&tree));
    for (file, source) in &tree {
        let of_sdk =
            source.tokens.iter().filter(|token| token.text.starts_with("aws_sdk") || token.text == "AttributeValue");
        let misplaced = of_sdk.filter(|_| !SDK_ROOMS_OF_API.contains(&room_of(file)));
        found.extend(misplaced.map(|Token { text, line }| format!("{file}:{line}: {text} must not appear here")));
        // The pure part asks nothing, except for its routes.
        let is_pure = room_of(file) == "schedules" && file != "schedules/routes.rs";
        let asks = source.tokens.iter().filter(|token| is_pure && ["async", "await"].contains(&token.text.as_str()));
        found.extend(asks.map(|Token { text, line }| format!("{file}:{line}: {text} must not appear here")));
    }
    assert_none(&found);
}

#[test]
fn files_and_functions_keep_their_lengths() {
    assert_none(&wrong_lengths(&source_tree()));
    for folder in ["api/src", "cli/src"] {
        assert_none(&wrong_lengths(&package_tree(folder)));
    }
}

#[test]
fn long_functions_have_doc_comments() {
    assert_none(&undocumented(&source_tree()));
}

mod rules {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(file, text)| ((*file).to_owned(), Source::new(text))).collect()
    }

    fn words(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn an_upward_import_is_found_however_it_is_written() {
        for (file, text, target) in [
            ("domain/x.rs", "use crate::store::Store;", "store/mod.rs"),
            ("domain/x.rs", "use crate::{clock, store::{keys::{self, A}, B}};", "store/keys.rs"),
            ("domain/x.rs", "fn f() { crate::store::keys::g(); }", "store/keys.rs"),
            ("domain/x.rs", "fn f(s: &super::super::store::Store) {}", "store/mod.rs"),
            ("agent/x.rs", "use crate::store as table;", "store/mod.rs"),
            ("run/x.rs", "use crate::routing::Route;", "routing/mod.rs"),
            ("invocation.rs", "use agent_trigger::handler;", "handler.rs"),
        ] {
            let files = [
                (file, text),
                ("store/mod.rs", "pub mod keys;"),
                ("store/keys.rs", ""),
                ("clock.rs", ""),
                ("routing/mod.rs", ""),
                ("handler.rs", ""),
            ];
            let expected = format!("{file} must not import from {target}");
            assert!(upward(&edges(&tree(&files))).contains(&expected), "{text}");
        }
    }

    #[test]
    fn downward_imports_and_those_of_tests_are_allowed() {
        let text = "use crate::domain::fire::Fire;\nuse std::store::X;\n// use crate::handler;\n
            fn f() -> &'static str { \"crate::handler::x\" }\n
            #[cfg(test)]\n#[allow(unused)]\nmod tests { use crate::handler::handle; fn g() {} }\n
            pub(crate) fn h() { r#\"crate::handler::\"#; }";
        let tree = tree(&[("store/mod.rs", text), ("domain/fire.rs", ""), ("handler.rs", "")]);
        let edges = edges(&tree);
        assert_eq!(edges, Edges::from([("store/mod.rs".to_owned(), "domain/fire.rs".to_owned())]));
        assert_none(&upward(&edges));
    }

    #[test]
    fn a_circle_is_found() {
        let files = [
            ("run/mod.rs", "mod attempt;\nmod finish;\nfn f() { attempt::g() }"),
            ("run/attempt.rs", "use super::finish::h;"),
            ("run/finish.rs", "use crate::run;\nfn h() { run::f() }"),
            ("handler.rs", "use crate::run;"),
        ];
        assert_eq!(circles(&edges(&tree(&files))), ["a circle of imports: run/attempt.rs, run/finish.rs, run/mod.rs"]);
        let files = [("run/mod.rs", "mod attempt;\nfn f() { attempt::g() }"), ("run/attempt.rs", "use crate::clock;")];
        assert_none(&circles(&edges(&tree(&files))));
    }

    #[test]
    fn a_misplaced_name_is_found() {
        let tree = tree(&[
            ("domain/x.rs", "async fn f() {\n tokio::x() }"),
            ("handler.rs", "use aws_sdk_dynamodb::Client;\nfn f(u: reqwest::Url) {}"),
            ("clients/x.rs", "use aws_sdk_lambda::Client; use reqwest::Url;"),
        ]);
        let found: Vec<_> =
            misplaced(&tree).iter().map(|text| text.split(" must").next().unwrap().to_owned()).collect();
        let expected =
            ["domain/x.rs:1: async", "domain/x.rs:2: tokio", "handler.rs:1: aws_sdk_dynamodb", "handler.rs:2: reqwest"];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_is_passed_on_is_found() {
        let tree = tree(&[("app.rs", "pub(crate) use x::y;\nuse z;\npub use a;\npub(super) fn f() {}")]);
        assert_eq!(passed_on(&tree), ["app.rs:1: pub use", "app.rs:3: pub use"]);
    }

    #[test]
    fn a_wrong_length_is_found() {
        let function =
            |lines: usize| format!("pub fn f(x: [u8; 2]) -> X<'a> where Y: Z {{{} }}", "\n".repeat(lines - 1));
        let padded = |text: &str, lines: usize| format!("{text}{}", "\n//".repeat(lines - text.lines().count()));
        let tree = tree(&[
            ("app.rs", &padded(&function(81), 100)),
            ("clock.rs", &padded(&function(80), 450)),
            ("config.rs", &padded("type F = fn(u8);", 451)),
            ("handler.rs", &padded("//", 130)),
            ("json/mod.rs", "mod x;"),
            ("json/x.rs", &padded("//", 24)),
            ("redact.rs", &padded(&format!("#[cfg(test)]\nmod tests {{ {} }}", function(200)), 300)),
        ]);
        let expected = [
            "app.rs:1: f has 81 lines",
            "config.rs: has 451 lines",
            "handler.rs: has 130 lines",
            "json/x.rs: has 24 lines",
        ];
        assert_eq!(wrong_lengths(&tree), expected);
    }

    #[test]
    fn a_long_function_without_a_doc_comment_is_found() {
        let body = |lines: usize| format!("{{{}}}", "\n".repeat(lines - 1));
        let (short, long) = (body(11), body(12));
        for (text, is_found) in [
            (format!("fn f() {long}"), true),
            (format!("fn f() {short}"), false),
            (format!("/// Does.\nfn f() {long}"), false),
            (format!("// Does.\nfn f() {long}"), true),
            (format!("//! A file.\n\nfn f() {long}"), true),
            (format!("/// Does.\n#[must_use]\n#[inline(always)]\npub(crate) async fn f() {long}"), false),
            (format!("/// A type.\nstruct X;\n#[must_use]\npub(crate) async fn f() {long}"), true),
            (format!("/// A type.\nimpl X {{\n    fn f(g: fn(u8) -> u8) {long} }}"), true),
            (format!("impl<T: for<'a> G<'a>> X<T> {{ fn f() {long} }}"), true),
            (format!("impl<T> G<'_> for X<T> where T: H {{ fn f() {long} }}"), false),
            (format!("impl G for X {{}} impl X {{ fn f() {long} }}"), true),
            (format!("trait G {{ fn g(); fn f() {long} }}"), true),
            (format!("fn g(h: impl H) {{ for x in y {{ x }} }} fn f() {long}"), true),
            (format!("#[cfg(test)]\nmod tests {{ fn f() {long} }}"), false),
        ] {
            assert_eq!(!undocumented(&tree(&[("app.rs", &text)])).is_empty(), is_found, "{text}");
        }
    }

    #[test]
    fn braces_in_texts_and_comments_do_not_count() {
        assert_eq!(
            words("f('{', '\\'', b'}', \"{\\\"}\", r#\"\"{\"#) // {\n/* { */ g::<'a>()"),
            words("f('x', 'x', b'x', \"\", \"\") g::<'a>()")
        );
        assert_eq!(words("let bar = c; b\"x\\\\\"; '\\u{7f}'"), ["let", "bar", "=", "c", ";", "\"", ";", "\""]);
        assert_eq!(tokens("a\n\"\n\n\" b")[2], Token { text: "b".to_owned(), line: 4 });
    }
}
