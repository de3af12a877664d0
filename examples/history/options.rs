//! The command line.

use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Lists executions, newest fire first, from a table on AWS or on this machine.

usage: cargo run --example history -- [--trigger ID] [--table NAME] [--limit N] [--watch]
       cargo run --example history -- --show EXECUTION_ID [--trigger ID] [--table NAME] [--watch]

  --trigger ID         only executions of this trigger; without it, the whole table is read
  --table NAME         the table; default: TRIGGERS_TABLE_NAME, else the table of `cargo run --example local -- --serve`
                       while that is running
  --show EXECUTION_ID  one execution in full
  --limit N            how many to list; default: 20
  --watch              draw the list again every second until Ctrl-C, reading at most 1 MB a second
  -h, --help           this text

Region, credentials and AWS_ENDPOINT_URL_DYNAMODB are found as in every AWS tool. The program needs dynamodb:Query, Scan
and GetItem, and writes nothing. Times are UTC. NO_COLOR turns the colours off.
";

const LIMITS: std::ops::RangeInclusive<usize> = 1..=10_000;

/// The options as given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) trigger: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) show: Option<String>,
    pub(crate) limit: usize,
    pub(crate) watch: bool,
}

/// Parses the arguments. Returns the options, or `None` if only help is wanted, and every problem with the arguments.
pub(crate) fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> (Option<Options>, Vec<String>) {
    use lexopt::prelude::{Long, Short, ValueExt};

    let mut options = Options { trigger: None, table: None, show: None, limit: 20, watch: false };
    let mut problems = Vec::new();
    let mut has_limit = false;
    let mut args = lexopt::Parser::from_iter(args);
    loop {
        let read = match args.next() {
            Ok(None) => break,
            Ok(Some(Long("trigger"))) => text(&mut args).map(|id| options.trigger = Some(id)),
            Ok(Some(Long("table"))) => text(&mut args).map(|name| options.table = Some(name)),
            Ok(Some(Long("show"))) => text(&mut args).map(|id| options.show = Some(id)),
            Ok(Some(Long("limit"))) => {
                has_limit = true;
                args.value().and_then(|value| value.parse_with(limit)).map(|limit| options.limit = limit)
            }
            Ok(Some(Long("watch"))) => {
                options.watch = true;
                Ok(())
            }
            Ok(Some(Short('h') | Long("help"))) => return (None, Vec::new()),
            Ok(Some(unknown)) => {
                let error = unknown.unexpected();
                // Without this, the value after the unknown option's `=` would be reported as a second problem.
                let _ = args.optional_value();
                Err(error)
            }
            Err(error) => Err(error),
        };
        problems.extend(read.err().map(|error| error.to_string()));
    }
    if options.show.is_some() && has_limit {
        problems.push("--limit says nothing beside --show".to_owned());
    }
    (Some(options), problems)
}

fn text(args: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    use lexopt::ValueExt;

    args.value()?.parse_with(|text| if text.trim().is_empty() { Err("it is empty") } else { Ok(text.to_owned()) })
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| LIMITS.contains(limit));
    limit.ok_or_else(|| format!("--limit takes a whole number from {} to {}", LIMITS.start(), LIMITS.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> (Option<Options>, Vec<String>) {
        parse(std::iter::once("history").chain(line.split_whitespace()))
    }

    #[test]
    fn options_are_read() {
        let (options, problems) = args("--trigger nightly --table=runs --limit 5 --watch");
        let expected =
            Options { trigger: Some("nightly".into()), table: Some("runs".into()), show: None, limit: 5, watch: true };
        assert_eq!((options, problems), (Some(expected), Vec::new()));
        assert_eq!(args("--nonsense --help"), (None, Vec::new()));
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems) = args("--colour=always --limit none --show 1 last --table");
        assert_eq!(problems.len(), 5, "{problems:#?}");
        for (problem, word) in problems.iter().zip(["--colour", "--limit", "last", "--table", "beside --show"]) {
            assert!(problem.contains(word), "{word} in {problem}");
        }
        for limit in ["0", "10001", "-1", "1.5"] {
            assert_eq!(args(&format!("--limit={limit}")).1.len(), 1, "{limit}");
        }
    }
}
