//! How this program and the local run are started. What a reader is told to type must work where this program was typed.

use std::{env, path::Path, sync::LazyLock};

/// The name of this program for a reader to type.
static NAME: LazyLock<&str> = LazyLock::new(|| name_of(env::args().next().as_deref()));
/// The command that starts a local run which serves.
static LOCAL_RUN: LazyLock<&str> = LazyLock::new(|| local_run_of(env::current_exe().ok().as_deref()));

/// Returns the name of this program for a reader to type: in the folder of a release it is not on the path.
pub(crate) fn name() -> &'static str {
    *NAME
}

/// Returns the command that starts a local run which serves.
pub(crate) fn local_run() -> &'static str {
    *LOCAL_RUN
}

/// Returns true if this program is one of a release, where nothing is built.
pub(crate) fn is_release() -> bool {
    local_run() == RELEASE
}

const RELEASE: &str = "./agent-trigger-local --serve";

fn name_of(first: Option<&str>) -> &'static str {
    if first == Some("./triggerctl") { "./triggerctl" } else { "triggerctl" }
}

fn local_run_of(program: Option<&Path>) -> &'static str {
    let is_beside = program.is_some_and(|path| path.with_file_name("agent-trigger-local").is_file());
    if is_beside { RELEASE } else { "cargo run --example local -- --serve" }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn programs_are_named_as_they_are_started() {
        assert_eq!(name_of(Some("./triggerctl")), "./triggerctl");
        for first in [Some("triggerctl"), Some("/usr/bin/triggerctl"), Some("target/debug/triggerctl"), None] {
            assert_eq!(name_of(first), "triggerctl", "{first:?}");
        }
        let folder = env::temp_dir().join(format!("triggerctl-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("triggerctl");
        assert_eq!(local_run_of(Some(&program)), "cargo run --example local -- --serve");
        fs::write(folder.join("agent-trigger-local"), "").unwrap();
        assert_eq!(local_run_of(Some(&program)), RELEASE);
        assert_eq!(local_run_of(None), "cargo run --example local -- --serve");
        fs::remove_dir_all(folder).unwrap();
    }
}
