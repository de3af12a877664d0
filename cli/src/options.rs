//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::called;
use crate::execution::Execution;

const AFTER: &str = "\
Where it looks, in this order:
  --api URL, or AGENT_TRIGGER_API      the control plane at this address. The access token is
                                       taken from AGENT_TRIGGER_TOKEN, never from an option.
  --table NAME, or TRIGGERS_TABLE_NAME the table. The control plane's code runs in this process,
                                       with your own AWS credentials. Commands that run or change
                                       triggers read RUN_FUNCTION_ARN, SCHEDULE_GROUP_NAME,
                                       SCHEDULER_ROLE_ARN and SCHEDULE_DLQ_ARN, as the control
                                       plane does.
  .local/env                           the local run, while it is serving
                                       (`LOCAL_RUN`).

Region, credentials and AWS_ENDPOINT_URL_* are found as in every AWS tool, but profiles of SSO or
with a credential process need: eval \"$(aws configure export-credentials --format env)\". Times are
UTC. NO_COLOR turns the colours off.";

/// Manages triggers and shows executions of agent-trigger.
#[derive(Debug, Parser)]
#[command(name = "triggerctl", version, after_help = AFTER.replace("LOCAL_RUN", called::local_run()), max_term_width = 100)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The place of executions and triggers.
#[derive(Debug, Default, Args)]
pub(crate) struct PlaceOptions {
    /// The table (a stack's output TableName)
    #[arg(long, global = true, value_name = "NAME", value_parser = text)]
    pub(crate) table: Option<String>,
    /// The address of the control plane (a stack's output ApiUrl)
    #[arg(long, global = true, value_name = "URL", conflicts_with = "table", value_parser = text)]
    pub(crate) api: Option<String>,
    /// The user whose triggers are meant. With a table, where that is not clear from the trigger. Through an API it is
    /// refused if the token does not act for that user
    #[arg(long, global = true, value_name = "ID", value_parser = text)]
    pub(crate) user: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List executions, newest fire first
    List(ListOptions),
    /// Show one execution in full
    Show {
        #[command(flatten)]
        execution: ExecutionOptions,
        /// Print the record as JSON: with a table as it is stored, through an API without what that hides
        #[arg(long)]
        json: bool,
    },
    /// Follow executions, or a single one, until Ctrl-C
    Watch {
        /// The execution to follow: its id, or the beginning or end of it
        #[arg(value_name = "EXECUTION", value_parser = part, conflicts_with_all = ["status", "since", "limit"])]
        id: Option<String>,
        /// End when the execution has ended, with 0 if it completed and 1 if it did not
        #[arg(long, requires = "id")]
        exit_status: bool,
        #[command(flatten)]
        which: Which,
    },
    /// List triggers with their health and next run
    Triggers {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a trigger now
    Run {
        #[command(flatten)]
        trigger: TriggerOptions,
        /// Print the control plane's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the agent of an execution the same again
    Replay {
        #[command(flatten)]
        execution: ExecutionOptions,
        /// Print the control plane's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a running execution to end
    Cancel {
        #[command(flatten)]
        execution: ExecutionOptions,
        /// Print the control plane's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong with a trigger in a file, and what an event would make of it; writes nothing, needs no AWS
    Check {
        /// A JSON file with the trigger, with its item, or with an array of them; - is the standard input
        file: PathBuf,
        /// A JSON file with an event
        #[arg(long, value_name = "FILE")]
        event: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create the trigger in a file, or change the one whose `id` the file names
    Put {
        /// A JSON file with the trigger; - is the standard input
        file: PathBuf,
        /// Print the trigger as JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch a trigger on
    Enable(TriggerOptions),
    /// Switch a trigger off
    Disable(TriggerOptions),
    /// Delete a trigger and its schedule
    Delete(TriggerOptions),
    /// Show when schedules will fire
    Next {
        /// The trigger; without it, the nearest runs of all triggers
        #[arg(value_name = "TRIGGER", value_parser = text)]
        id: Option<String>,
        /// The number of runs
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the webhook of a trigger, test it, and replace its secret
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl PlaceOptions {
    /// Returns the options as they were given, for a command that is to look at the same place.
    pub(crate) fn given(&self) -> String {
        let options = [("--api", &self.api), ("--table", &self.table), ("--user", &self.user)];
        let given = options.into_iter().filter_map(|(name, value)| {
            let value = value.as_ref()?;
            Some(format!(" {name}={}", crate::words::quoted(value)))
        });
        given.collect()
    }
}

/// The commands about webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Print the address that senders call
    Url {
        #[command(flatten)]
        trigger: TriggerOptions,
        /// Print JSON, with the settings of the webhook
        #[arg(long)]
        json: bool,
    },
    /// List what came in, newest first, with the reason why it was refused
    Deliveries {
        #[command(flatten)]
        trigger: TriggerOptions,
        /// How many to list of those that were refused, and how many of the others
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=50))]
        limit: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the secret; a new one is printed this once
    Rotate {
        #[command(flatten)]
        trigger: TriggerOptions,
        /// A file with the secret that the sender has chosen, as Slack and Stripe do; - is the standard input
        #[arg(long, value_name = "FILE")]
        secret: Option<PathBuf>,
        /// How long the secret before works on: 0, or a time such as 30m, 12h or 7d; without it a day
        #[arg(long, value_name = "TIME", value_parser = grace)]
        grace: Option<u32>,
        /// Print the control plane's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a signed delivery, which runs the trigger like any other
    Test {
        #[command(flatten)]
        trigger: TriggerOptions,
        /// A JSON file with the body; - is the standard input
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// A header of the sender, such as 'X-GitHub-Event: issues'; may be given several times
        #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
        headers: Vec<(String, String)>,
        /// Print the control plane's answer as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Reads a header as it is written: its name, a colon and its value.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must be NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A trigger.
#[derive(Debug, Args)]
pub(crate) struct TriggerOptions {
    /// The trigger's id
    #[arg(value_name = "TRIGGER", value_parser = text)]
    pub(crate) id: String,
}

/// An execution.
#[derive(Debug, Args)]
pub(crate) struct ExecutionOptions {
    /// The execution's id, or the beginning or end of it
    #[arg(value_name = "EXECUTION", value_parser = part)]
    pub(crate) id: String,
    /// Its trigger; without it, the executions of all are searched
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) trigger: Option<String>,
}

/// The options of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Print the records as a JSON array: with a table as they are stored, through an API without what that hides
    #[arg(long)]
    pub(crate) json: bool,
}

/// The executions that are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Which {
    /// Only executions of this trigger; without it, a table is read as a whole
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) trigger: Option<String>,
    /// Only executions of these statuses: running, completed, failed, cancelled, skipped
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = ["running", "completed", "failed", "cancelled", "skipped"])]
    pub(crate) status: Vec<String>,
    /// Only fires since then: an RFC 3339 time, or a distance such as 30m, 12h or 7d
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub(crate) since: Option<i64>,
    /// How many to list
    #[arg(long, default_value_t = 20, value_parser = limit)]
    pub(crate) limit: usize,
}

impl Which {
    /// Returns true for an execution that fired before the time that is asked for.
    pub(crate) fn is_too_old(&self, execution: &Execution) -> bool {
        self.since.is_some_and(|since| execution.fired_at().is_some_and(|fired| fired < since))
    }

    /// Returns true for an execution that is asked for, whatever its trigger.
    pub(crate) fn includes(&self, execution: &Execution) -> bool {
        let status = execution.item.status.as_deref().unwrap_or_default();
        (self.status.is_empty() || self.status.iter().any(|wanted| wanted == status)) && !self.is_too_old(execution)
    }
}

/// Takes any text that is not blank, as it stands.
fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}

/// Reads an execution's id, or a part of it. Ids are lower case.
fn part(given: &str) -> Result<String, &'static str> {
    let is_id = given.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    text(given).map(|given| if is_id { given.to_ascii_lowercase() } else { given })
}

fn limit(text: &str) -> Result<usize, &'static str> {
    let limit = text.parse().ok().filter(|limit| (1..=10_000).contains(limit));
    limit.ok_or("it takes a whole number from 1 to 10000")
}

/// Reads a moment: an RFC 3339 time, or how long ago it was, such as 30m. Returns it in milliseconds since 1970.
fn since(text: &str) -> Result<i64, &'static str> {
    if let Some(at) = crate::words::parse_time(text) {
        return Ok(at);
    }
    let problem = "it takes an RFC 3339 time such as 2026-01-31T07:00:00Z, or a distance such as 30m, 12h or 7d";
    seconds(text).map(|seconds| crate::words::now() - seconds * 1000).ok_or(problem)
}

/// Reads a length of time such as 30m in seconds.
fn seconds(text: &str) -> Option<i64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let number: u32 = text[..text.len() - 1].parse().ok()?;
    Some(i64::from(number) * unit)
}

/// Reads a grace time in seconds.
fn grace(text: &str) -> Result<u32, &'static str> {
    let seconds = if text == "0" { Some(0) } else { seconds(text) };
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).ok_or("it takes 0, or a time such as 30m, 12h or 7d")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::try_parse_from(std::iter::once("triggerctl").chain(line.split_whitespace())).map_err(|e| e.to_string())
    }

    #[test]
    fn the_options_are_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_are_read() {
        let options =
            parse("list --trigger nightly --table=runs --limit 5 --status failed,running --since 2h").unwrap();
        let Command::List(ListOptions { which, json: false }) = options.command else { panic!("{options:?}") };
        assert_eq!((which.trigger.as_deref(), which.limit), (Some("nightly"), 5));
        assert_eq!(which.status, ["failed", "running"]);
        let distance = crate::words::now() - which.since.unwrap();
        assert!((7_200_000..7_260_000).contains(&distance), "{distance}");
        assert_eq!(options.place.table.as_deref(), Some("runs"));
        let at = parse("list --since 2026-11-21T02:00:00Z").unwrap();
        let Command::List(list) = at.command else { panic!("{at:?}") };
        assert_eq!(list.which.since.map(crate::words::rfc3339).as_deref(), Some("2026-11-21T02:00:00Z"));
    }

    #[test]
    fn ids_are_lower_case() {
        for (given, id) in [("019AA303-7C00", "019aa303-7c00"), ("Nightly", "Nightly")] {
            let Command::Show { execution, .. } = parse(&format!("show {given}")).unwrap().command else { panic!() };
            assert_eq!(execution.id, id);
        }
    }

    #[test]
    fn the_place_is_told_as_it_was_given() {
        let place = parse("list --table runs --user $(x)").unwrap().place;
        assert_eq!(place.given(), " --table=runs --user='$(x)'");
        assert_eq!(PlaceOptions::default().given(), "");
    }

    #[test]
    fn a_grace_time_is_read_in_seconds() {
        for (given, seconds) in [("0", 0), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            let options = parse(&format!("webhook rotate x --grace {given}")).unwrap();
            let Command::Webhook(WebhookCommand::Rotate { grace, .. }) = options.command else { panic!("{options:?}") };
            assert_eq!(grace, Some(seconds), "{given}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("list --tabel x", "--table"),
            ("list --limit none", "--limit"),
            ("list --limit 0", "10000"),
            ("list --table=", "empty"),
            ("list --status done", "completed"),
            ("list --since yesterday", "RFC 3339"),
            ("list --since é", "RFC 3339"),
            ("list --api http://x --table t", "cannot be used with"),
            ("watch 019aa303 --status failed", "cannot be used with"),
            ("watch 019aa303 --limit 3", "cannot be used with"),
            ("watch --exit-status", "EXECUTION"),
            ("show", "EXECUTION"),
            ("lits", "list"),
            ("webhook", "deliveries"),
            ("webhook rotate x --grace 1", "7d"),
            ("webhook rotate x --grace 99999999d", "7d"),
            ("webhook rotate x --grace é", "7d"),
            ("webhook rotate x --grace=-1h", "7d"),
            ("webhook deliveries x --limit 51", "50"),
            ("webhook test x -H no-header", "NAME: VALUE"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
