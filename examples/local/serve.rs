//! The stand-ins on fixed ports, for `cargo lambda watch`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use standins::Stack;
use standins::stack::Ports;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;
use crate::report::{self, say};

/// Beside `cargo lambda watch`, which takes 9000.
pub(crate) const PORTS: Ports = Ports { cognito: 9001, agent: 9002, dynamodb: 9003, lambda: 9004 };

/// Writes the env file, then shows each execution that ends until Ctrl-C.
pub(crate) async fn serve(stack: &Stack, root: &Path, options: &Options) -> Result<(), String> {
    let file = root.join(".local/env");
    // Lambda's own settings are cargo-lambda's to make.
    let env = options.env(stack).into_iter().filter(|(name, _)| !name.starts_with("AWS_LAMBDA_"));
    let lines: String = env.map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::create_dir_all(root.join(".local"))
        .and_then(|()| fs::write(&file, lines))
        .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    say(&format!(
        "Cognito, an agent and DynamoDB stand in at {}, {} and {}.\n\nNow, each in a shell of its own:\n\n  \
         cargo lambda watch -A 127.0.0.1 --env-file .local/env\n  \
         cargo lambda invoke --invoke-address 127.0.0.1 --data-file events/scheduled.json\n\n\
         Executions are shown here as they end. Ctrl-C ends the stand-ins and what they hold.\n",
        stack.cognito.url(),
        stack.agent.url(),
        stack.dynamodb.url()
    ));
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot listen for signals: {e}"))?;
    let mut shown = HashSet::new();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = async {
            loop {
                show_ended(stack, &mut shown);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        } => {}
    }
    show_ended(stack, &mut shown);
    // Left behind, it would point a later `cargo lambda watch` at nothing.
    let _ = fs::remove_file(file);
    Ok(())
}

/// Shows each execution that has ended and is not in `shown`: once an attempt, for a failed one may run again.
fn show_ended(stack: &Stack, shown: &mut HashSet<(String, String, String)>) {
    for row in stack.dynamodb.scan() {
        let is_execution = row["SK"].as_str().is_some_and(|sk| sk.starts_with("EXECUTION#"));
        let has_ended = !matches!(row["status"].as_str(), None | Some("running"));
        let state = (report::text(&row["executionId"]), report::text(&row["attempt"]), report::text(&row["status"]));
        if is_execution && has_ended && shown.insert(state) {
            say(&report::ended(&row));
        }
    }
}
