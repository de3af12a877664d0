//! A second matcher for comparison. It follows event-ruler's description of a match, without regard to speed. An event
//! is a set of leaves, each with its path and its place in the arrays around it. A pattern is a set of lists of
//! conditions on paths. The matcher tries every choice of leaves.

use serde_json::Value;

/// A leaf of an event.
struct Leaf<'a> {
    path: Vec<&'a str>,
    /// The elements of arrays that contain the leaf, by array number and index. The array whose element the leaf itself
    /// is does not count.
    place: Vec<(usize, usize)>,
    value: &'a Value,
}

/// The conditions on one path.
type Asked<'a> = (Vec<&'a str>, &'a Vec<Value>);

/// Returns whether `event` matches, or `None` if the pattern asks for a path twice at once.
pub(crate) fn matches(pattern: &Value, event: &Value) -> Option<bool> {
    let alternatives = alternatives(pattern, &[]);
    if alternatives.iter().any(|asked| is_contradictory(asked)) {
        return None;
    }
    let mut leaves = Vec::new();
    collect(event, &mut Vec::new(), &mut Vec::new(), &mut 0, &mut leaves);
    Some(alternatives.iter().any(|asked| try_all(asked, &leaves, &mut Vec::new(), &mut Vec::new())))
}

/// Returns true if the pattern asks for a path twice, or for a path that leads through another one.
fn is_contradictory(asked: &[Asked<'_>]) -> bool {
    let clash = |one: &Asked<'_>, other: &Asked<'_>| one.0.starts_with(&other.0) || other.0.starts_with(&one.0);
    asked.iter().enumerate().any(|(at, one)| asked[at + 1..].iter().any(|other| clash(one, other)))
}

fn alternatives<'a>(pattern: &'a Value, above: &[&'a str]) -> Vec<Vec<Asked<'a>>> {
    let mut all: Vec<Vec<Asked<'a>>> = vec![vec![]];
    for (name, value) in pattern.as_object().unwrap() {
        let path: Vec<&str> = above.iter().copied().chain([&name[..]]).collect();
        let part = match value {
            Value::Array(branches) if name == "$or" => {
                branches.iter().flat_map(|branch| alternatives(branch, above)).collect()
            }
            Value::Array(list) => vec![vec![(path, list)]],
            nested => alternatives(nested, &path),
        };
        let mut product = Vec::new();
        for one in &all {
            for other in &part {
                product.push(one.iter().chain(other).cloned().collect());
            }
        }
        all = product;
    }
    all
}

fn collect<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    place: &mut Vec<(usize, usize)>,
    arrays: &mut usize,
    leaves: &mut Vec<Leaf<'a>>,
) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                path.push(name);
                collect(field, path, place, arrays, leaves);
                path.pop();
            }
        }
        Value::Array(items) => {
            let array = *arrays;
            *arrays += 1;
            for (at, item) in items.iter().enumerate() {
                let is_within = item.is_object() || item.is_array();
                place.extend(is_within.then_some((array, at)));
                collect(item, path, place, arrays, leaves);
                if is_within {
                    place.pop();
                }
            }
        }
        value => leaves.push(Leaf { path: path.clone(), place: place.clone(), value }),
    }
}

/// Tries each leaf for the first path, and its absence, together with every choice for the rest.
fn try_all<'a>(
    asked: &[Asked<'_>],
    leaves: &'a [Leaf<'a>],
    chosen: &mut Vec<&'a Leaf<'a>>,
    absent: &mut Vec<Vec<String>>,
) -> bool {
    let Some(((path, list), rest)) = asked.split_first() else {
        let is_absent = |path: &Vec<String>| {
            !leaves.iter().any(|leaf| leaf.path == *path && chosen.iter().all(|other| is_consistent(leaf, other)))
        };
        return absent.iter().all(is_absent);
    };
    for leaf in leaves.iter().filter(|leaf| leaf.path == *path) {
        if list.iter().any(|entry| is_match(entry, leaf.value)) && chosen.iter().all(|other| is_consistent(leaf, other))
        {
            chosen.push(leaf);
            if try_all(rest, leaves, chosen, absent) {
                return true;
            }
            chosen.pop();
        }
    }
    if list.iter().any(|entry| entry["exists"] == false) {
        absent.push(path.iter().map(|name| (*name).to_owned()).collect());
        if try_all(rest, leaves, chosen, absent) {
            return true;
        }
        absent.pop();
    }
    false
}

/// Returns true if no array has the two leaves in different elements.
fn is_consistent(one: &Leaf<'_>, other: &Leaf<'_>) -> bool {
    one.place.iter().all(|(array, at)| other.place.iter().all(|(other, other_at)| array != other || at == other_at))
}

fn is_match(entry: &Value, leaf: &Value) -> bool {
    let Value::Object(matcher) = entry else {
        return is_equal(entry, leaf);
    };
    let (name, argument) = matcher.iter().next().unwrap();
    match &name[..] {
        "exists" => argument == true,
        "numeric" => leaf.as_f64().is_some_and(|number| is_in_range(argument.as_array().unwrap(), number)),
        "cidr" => leaf.as_str().is_some_and(|text| is_in_block(argument.as_str().unwrap(), text)),
        "anything-but" => match argument {
            Value::Object(inner) => {
                let (name, values) = inner.iter().next().unwrap();
                list(values).iter().all(|value| !is_text_match(name, value, leaf))
            }
            values => list(values).iter().all(|value| !is_equal(value, leaf)),
        },
        name => is_text_match(name, argument, leaf),
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn is_text_match(name: &str, argument: &Value, leaf: &Value) -> bool {
    let Some(text) = leaf.as_str() else { return false };
    // The alphabet of these tests is ASCII, so ASCII case folding is enough.
    let ignoring_case = argument.is_object() || name == "equals-ignore-case";
    let argument = argument.as_str().or(argument["equals-ignore-case"].as_str()).unwrap();
    let fold = |text: &str| if ignoring_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let (argument, text) = (fold(argument), fold(text));
    match name {
        "prefix" => text.len() >= argument.len() && text[..argument.len()] == argument,
        "suffix" => text.len() >= argument.len() && text[text.len() - argument.len()..] == argument,
        "equals-ignore-case" => text == argument,
        "wildcard" => is_wildcard_match(argument.as_bytes(), text.as_bytes()),
        _ => panic!("{name} is not compared"),
    }
}

/// Matches a wildcard by its definition, in exponential time.
fn is_wildcard_match(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], text) => (0..=text.len()).any(|at| is_wildcard_match(rest, &text[at..])),
        ([b'\\', escaped, rest @ ..], [first, text @ ..]) => escaped == first && is_wildcard_match(rest, text),
        ([byte, rest @ ..], [first, text @ ..]) => byte == first && is_wildcard_match(rest, text),
        (_, []) => false,
    }
}

fn is_in_range(terms: &[Value], number: f64) -> bool {
    terms.chunks(2).all(|term| {
        let bound = term[1].as_f64().unwrap();
        match term[0].as_str().unwrap() {
            "=" => number == bound,
            "<" => number < bound,
            "<=" => number <= bound,
            ">" => number > bound,
            _ => number >= bound,
        }
    })
}

/// Compares the first bits as text.
fn is_in_block(block: &str, address: &str) -> bool {
    let bits = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(address) => format!("{:032b}", u32::from(address)),
        std::net::IpAddr::V6(address) => format!("{:0128b}", u128::from(address)),
    };
    let (network, length) = block.split_once('/').unwrap();
    let (network, length) = (bits(network.parse().unwrap()), length.parse::<usize>().unwrap());
    let Ok(address) = address.parse().map(bits) else { return false };
    network.len() == address.len() && network[..length] == address[..length]
}
