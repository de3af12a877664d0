//! The stand-ins on fixed ports, for `cargo lambda watch`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use agent_trigger::store::execution_item as record;
use standins::stack::Ports;
use standins::{Outcome, Stack};
use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;
use crate::outbox;
use crate::report::{self, say};
use crate::run::TIMEOUT;

/// The ports next to 9000, which `cargo lambda watch` uses.
pub(crate) const PORTS: Ports = Ports { cognito: 9001, agent: 9002, dynamodb: 9003, lambda: 9004 };
/// The address of `watch`'s Invoke API. It runs one event after another and answers each when it is done, so a function
/// that hands events on to itself would wait for itself. The stand-in for Lambda is therefore placed in between. The
/// workspace has two functions, so each is called by its name.
const WATCH: &str = "http://127.0.0.1:9000/2015-03-31/functions/agent-trigger/invocations";

/// Writes the env file, then shows each execution that ends, until Ctrl-C.
pub(crate) async fn serve(stack: &Stack, root: &Path, options: &Options) -> Result<(), String> {
    let file = root.join(".local/env");
    // cargo-lambda itself makes Lambda's own settings.
    let env = options.env(stack).into_iter().filter(|(name, _)| !name.starts_with("AWS_LAMBDA_"));
    let lines: String = env.map(|(name, value)| format!("{name}={value}\n")).collect();
    stack.lambda.timeout(TIMEOUT);
    stack.lambda.retries(0);
    stack.forward(WATCH);
    // The pipe is held because it stops when dropped.
    let _pipe = outbox::pipe(stack, root, TIMEOUT)?;
    fs::create_dir_all(root.join(".local"))
        .and_then(|()| fs::write(&file, lines))
        .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    say(&format!(
        "Cognito, an agent, DynamoDB and Lambda's API stand in at {}, {}, {} and {}.\n\n\
         Now, each in a shell of its own:\n\n  \
         cargo lambda watch -p agent-trigger -A 127.0.0.1 --env-file .local/env\n  \
         cargo lambda invoke agent-trigger --invoke-address 127.0.0.1 --data-file events/scheduled.json\n\n\
         What the function hands on to itself, and the ends of executions, come back to it through `watch`, one after\n\
         another. Executions are shown here as they end. Ctrl-C ends the stand-ins and what they hold.\n",
        stack.cognito.url(),
        stack.agent.url(),
        stack.dynamodb.url(),
        stack.lambda.url()
    ));
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot listen for signals: {e}"))?;
    let mut shown = HashSet::new();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = async {
            let mut lost = 0;
            loop {
                show_ended(stack, &mut shown);
                let died = stack.lambda.invocations().iter().filter(|i| i.outcome() == Some(&Outcome::Died)).count();
                if died > lost {
                    say(&format!("events lost: {}, because `cargo lambda watch` at port 9000 gave no answer", died - lost));
                }
                lost = died;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        } => {}
    }
    show_ended(stack, &mut shown);
    // Left behind, the file would make a later `cargo lambda watch` call services that are gone.
    let _ = fs::remove_file(file);
    Ok(())
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
