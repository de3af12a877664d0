//! The words that start this program and the local run. What a reader is told to type must work where this program was
//! typed.

use std::{env, path::Path, sync::LazyLock};

/// The local run of a release, which stands beside this program there.
const LOCAL_RUN: &str = "agent-trigger-local";

/// The words of this process.
static WORDS: LazyLock<Words> =
    LazyLock::new(|| Words::of(env::args().next().as_deref(), env::current_exe().ok().as_deref()));

/// Returns the name of this program for a reader to type.
pub(crate) fn name() -> &'static str {
    &WORDS.name
}

/// Returns the command that starts a local run which serves.
pub(crate) fn local_run() -> &'static str {
    &WORDS.local_run
}

/// Returns true if this program is one of a release, where nothing is built.
pub(crate) fn is_release() -> bool {
    WORDS.is_release
}

/// The words for a reader to type.
struct Words {
    name: String,
    local_run: String,
    is_release: bool,
}

impl Words {
    /// Returns the words for the program at the path `program`, which was started by the word `typed`. Beside the local
    /// run of a release both are called by the path that was typed, because neither need be among the shell's commands.
    /// In place of a path that a shell would not take as it stands, `./triggerctl` is given. Elsewhere this program is
    /// a command, unless it was typed as one of the current folder.
    fn of(typed: Option<&str>, program: Option<&Path>) -> Self {
        let is_release = program.is_some_and(|path| path.with_file_name(LOCAL_RUN).is_file());
        if !is_release {
            let name = typed.filter(|typed| *typed == "./triggerctl").unwrap_or("triggerctl");
            let local_run = "cargo run --example local -- --serve";
            return Self { name: name.to_owned(), local_run: local_run.to_owned(), is_release };
        }
        let is_plain = |typed: &&str| typed.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
        let name = typed.filter(|typed| !typed.is_empty()).filter(is_plain).unwrap_or("./triggerctl");
        let local_run = Path::new(name).with_file_name(LOCAL_RUN);
        Self { name: name.to_owned(), local_run: format!("{} --serve", local_run.display()), is_release }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn programs_are_named_as_they_are_started() {
        let folder = env::temp_dir().join(format!("triggerctl-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("triggerctl");
        let words = |typed: Option<&str>| {
            let Words { name, local_run, is_release } = Words::of(typed, Some(&program));
            (name, local_run, is_release)
        };
        let found = |name: &str, local_run: &str, is_release| (name.to_owned(), local_run.to_owned(), is_release);
        for (typed, name) in [
            (Some("./triggerctl"), "./triggerctl"),
            (Some("triggerctl"), "triggerctl"),
            (Some("target/debug/triggerctl"), "triggerctl"),
            (None, "triggerctl"),
        ] {
            assert_eq!(words(typed), found(name, "cargo run --example local -- --serve", false), "{typed:?}");
        }
        fs::write(folder.join(LOCAL_RUN), "").unwrap();
        for (typed, name, local_run) in [
            (Some("./triggerctl"), "./triggerctl", "./agent-trigger-local --serve"),
            (Some("/opt/try/triggerctl"), "/opt/try/triggerctl", "/opt/try/agent-trigger-local --serve"),
            (Some("triggerctl"), "triggerctl", "agent-trigger-local --serve"),
            (Some("./my files/triggerctl"), "./triggerctl", "./agent-trigger-local --serve"),
            (Some(""), "./triggerctl", "./agent-trigger-local --serve"),
            (None, "./triggerctl", "./agent-trigger-local --serve"),
        ] {
            assert_eq!(words(typed), found(name, local_run, true), "{typed:?}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
