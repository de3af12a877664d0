//! `--serve`: everything on this machine until Ctrl-C. The stand-ins listen on fixed ports, the function runs what Lambda
//! accepts, and the control plane shows it all on a page. `cargo lambda watch` and `triggerctl` find it by `.local/env`.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use agent_trigger::store::execution_item as record;
use standins::Stack;
use standins::stack::{Env, Ports};
use tokio::signal::unix::{SignalKind, signal};

use crate::detached;
use crate::options::Options;
use crate::outbox;
use crate::page::Page;
use crate::programs::{Started, beside};
use crate::report::{self, say};
use crate::reports::Reports;
use crate::run::{TIMEOUT, log_file};

/// The ports next to 9000, which `cargo lambda watch` uses.
pub(crate) const PORTS: Ports = Ports { cognito: 9001, agent: 9002, dynamodb: 9003, lambda: 9004 };
/// The commands that find this run by `.local/env`.
const COMMANDS: &[&str] = &[
    "cargo run -p agent-trigger-cli -- watch",
    "cargo lambda watch -p agent-trigger -A 127.0.0.1 --env-file .local/env",
    "cargo lambda invoke agent-trigger --invoke-address 127.0.0.1 --data-file events/scheduled.json",
];
/// The same in an unpacked release, where nothing is built. They are called as this program was.
const RELEASE_COMMANDS: &[&str] = &["triggerctl watch", "triggerctl list"];
/// The most runs at the same time.
const ENVIRONMENTS: usize = 4;

/// Returns a sentence about the stand-ins that serve, and about the user's own agent if there is one.
fn stand_ins(stack: &Stack, own_agent: Option<&str>) -> String {
    let (cognito, dynamodb, lambda) = (stack.cognito.url(), stack.dynamodb.url(), stack.lambda.url());
    match own_agent {
        Some(url) => {
            format!(
                "Cognito, DynamoDB and Lambda's API stand in at {cognito}, {dynamodb} and {lambda}. The agent is {url}."
            )
        }
        None => {
            let agent = stack.agent.url();
            format!(
                "Cognito, an agent, DynamoDB and Lambda's API stand in at {cognito}, {agent}, {dynamodb} and {lambda}."
            )
        }
    }
}

/// Starts the function and the control plane, both of them built into the folder `built`, writes the env file, then shows
/// each execution that ends, until Ctrl-C. The control plane shows the triggers of `user`.
pub(crate) async fn serve(
    stack: &Stack,
    root: &Path,
    built: &Path,
    options: &Options,
    user: &str,
) -> Result<(), String> {
    let file = root.join(".local/env");
    // A run that was killed leaves it behind, and a start that fails must not seem to serve.
    let _ = fs::remove_file(&file);
    let reports = Reports::start(stack, built, true).await?;
    let mut env = options.env(stack);
    env.insert("REPORT_URL".to_owned(), reports.url.clone());
    detached::prepare(stack);
    stack.lambda.timeout(TIMEOUT);
    stack.lambda.retries(0);
    let log = root.join(".local/function.log");
    stack.pool_with(ENVIRONMENTS, env.clone(), Some(log_file(&log)?));
    // The pipe is held because it stops when dropped.
    let _pipe = outbox::pipe(stack, root, TIMEOUT)?;
    let page = Page::start(stack, built, user).await?;
    write_env(&file, env.into_iter().chain(page.env()).collect())?;
    let commands: Vec<String> = match Started::find() {
        Started::Release(words) => RELEASE_COMMANDS.iter().map(|command| beside(&words, command)).collect(),
        Started::Repository => COMMANDS.iter().map(|&command| command.to_owned()).collect(),
    };
    say(&format!(
        "\nOpen this link: {}/#key={}\n\n\
         Its schedules fire, and their runs are those of the built function. In other shells:\n\n  \
         {}\n  \
         {}\n\n\
         {}\n\
         Executions are shown here as they end. The agent of a detached run reports to {}. The function's log is {}.\n\
         Ctrl-C ends everything and what it holds.\n",
        page.url,
        page.key,
        page.curl,
        commands.join("\n  "),
        stand_ins(stack, options.agent_url.as_deref()),
        reports.url,
        report::shown(&log)
    ));
    let mut shown = HashSet::new();
    let mut agents = detached::Agents::default();
    let ended = tokio::select! {
        stopped = stopped() => stopped.map_err(|e| format!("cannot listen for signals: {e}")),
        said = page.ended() => Err(said),
        () = async {
            loop {
                agents.update(stack);
                show_ended(stack, &mut shown);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        } => Ok(()),
    };
    show_ended(stack, &mut shown);
    // Left behind, the file would make a later `cargo lambda watch` call services that are gone.
    let _ = fs::remove_file(file);
    ended
}

/// Waits for a signal to end. A terminal that is closed sends SIGHUP. Where `nohup` has that ignored, to listen for it would
/// undo that.
async fn stopped() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let is_ignored = fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status));
    let mut hangup = if is_ignored { None } else { Some(signal(SignalKind::hangup())?) };
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped,
        _ = terminate.recv() => Ok(()),
        Some(_) = async { hangup.as_mut()?.recv().await } => Ok(()),
    }
}

/// Returns true if a process of Linux ignores SIGHUP. `status` is its file in /proc.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is that of signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Writes the env file, readable by its owner alone, because it holds the page's key. cargo-lambda itself makes Lambda's
/// own settings.
fn write_env(file: &Path, env: Env) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;

    let env = env.into_iter().filter(|(name, _)| !name.starts_with("AWS_LAMBDA_"));
    let lines: String = env.map(|(name, value)| format!("{name}={value}\n")).collect();
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(file))?;
        // An older file would keep its mode.
        let _ = fs::remove_file(file);
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(lines.as_bytes())
    };
    write().map_err(|e| format!("cannot write {}: {e}", file.display()))
}

/// Shows each execution that has ended and is not in `shown`. Each attempt is shown once, because a failed execution
/// may run again.
fn show_ended(stack: &Stack, shown: &mut HashSet<(String, String, String)>) {
    let mut rows = stack.dynamodb.scan();
    rows.sort_by_cached_key(|row| report::text(&row[record::COMPLETED_AT]));
    for row in rows {
        let is_execution = row["SK"].as_str().is_some_and(|sk| sk.starts_with("EXECUTION#"));
        let has_ended = !matches!(row[record::STATUS].as_str(), None | Some("running"));
        let state = (
            report::text(&row[record::EXECUTION_ID]),
            report::text(&row[record::ATTEMPT]),
            report::text(&row[record::STATUS]),
        );
        if is_execution && has_ended && shown.insert(state) {
            say(&report::ended(&row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_nohup_has_ignored_stays_so() {
        for (status, is_ignored) in [
            ("Name:\tlocal\nSigIgn:\t0000000000001001\n", true),
            ("Name:\tlocal\nSigIgn:\t0000000000001000\n", false),
            ("SigCgt:\t0000000000000001\n", false),
            ("", false),
        ] {
            assert_eq!(ignores_hangup(status), is_ignored, "{status}");
        }
    }

    /// The name of the test below, and of the variable that asks it to say when it listens.
    const SIGNALS: &str = "every_signal_to_end_ends_it";

    #[tokio::test]
    async fn every_signal_to_end_ends_it() {
        use std::{env, process::Stdio};
        use tokio::io::{AsyncBufReadExt, BufReader};
        use tokio::process::Command;

        if env::var_os(SIGNALS).is_some() {
            let mut stopped = std::pin::pin!(stopped());
            // It listens once it was asked for the first time.
            tokio::select! {
                biased;
                _ = &mut stopped => {}
                () = async {} => {}
            }
            eprintln!("listens");
            return stopped.await.unwrap();
        }
        let ignored =
            |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| ignores_hangup(&status));
        // These tests may have been started with nohup too.
        let outlives = ignored("self");
        for (before, signal) in [("env", "TERM"), ("env", "INT"), ("env", "HUP"), ("nohup", "TERM")] {
            if outlives && signal == "HUP" {
                continue;
            }
            let mut command = Command::new(before);
            command.arg(env::current_exe().unwrap()).args([SIGNALS, "--nocapture"]).env(SIGNALS, "");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            while lines.next_line().await.unwrap().unwrap() != "listens" {}
            let pid = child.id().unwrap().to_string();
            if cfg!(target_os = "linux") {
                assert_eq!(ignored(&pid), outlives || before == "nohup", "{before}");
            }
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
            assert!(child.wait().await.unwrap().success(), "{before} {signal}");
        }
    }

    #[tokio::test]
    async fn a_start_that_fails_leaves_no_file_of_an_earlier_run() {
        let root = std::env::temp_dir().join(format!("local-{}", uuid::Uuid::new_v4()));
        let file = root.join(".local/env");
        fs::create_dir_all(root.join(".local")).unwrap();
        fs::write(&file, "TRIGGERS_TABLE_NAME=gone\n").unwrap();
        let stack = Stack::start().await;
        // Nothing is built there.
        assert!(serve(&stack, &root, &root, &Options::default(), "user-456").await.is_err());
        assert!(!file.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
