//! The places of what a run needs: the samples and the template, and the programs. In the repository they are built; in a
//! release they lie beside this program, and nothing is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use standins::Function;

use crate::report;

/// The file by which the folder of the samples is known.
const SAMPLES: &str = "events/triggers.json";

/// The place of the samples and the programs.
pub(crate) enum Place {
    /// The repository, with this root.
    Repository(PathBuf),
    /// The unpacked release: everything is in this folder.
    Release(PathBuf),
}

impl Place {
    /// Finds the release beside this program, or else the repository that cargo runs in or that the current folder is in.
    /// The path of the repository is not compiled in, because the bytes of a release must not depend on it.
    ///
    /// # Errors
    /// If there is neither.
    pub(crate) fn find() -> Result<Self, String> {
        let here = this_program()?;
        let beside = here.parent().unwrap_or(&here);
        if beside.join("agent-trigger").is_file() && beside.join(SAMPLES).is_file() {
            return Ok(Self::Release(beside.to_owned()));
        }
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let current = std::env::current_dir().ok();
        let root = package.iter().chain(&current).flat_map(|folder| folder.ancestors());
        let root =
            root.into_iter().find(|folder| folder.join("examples/local").is_dir() && folder.join(SAMPLES).is_file());
        let missing =
            "found neither the samples of a release beside this program nor the repository around this folder";
        root.map(|root| Self::Repository(root.to_owned())).ok_or_else(|| missing.to_owned())
    }

    /// Returns the folder of the samples, of the template and of the log.
    pub(crate) fn root(&self) -> &Path {
        match self {
            Self::Repository(root) | Self::Release(root) => root,
        }
    }

    /// Returns the folder of the programs, once `what` is built as this example was: same profile, same target directory.
    /// The example is named too, though it is built already: alone, the function would be built with fewer features of
    /// its dependencies than beside the example, and 49 of them would be compiled a second time.
    ///
    /// # Errors
    /// If it does not build.
    pub(crate) fn programs(&self, what: &[&str]) -> Result<PathBuf, String> {
        let root = match self {
            Self::Repository(root) => root,
            Self::Release(folder) => return Ok(folder.clone()),
        };
        let here = this_program()?;
        // This program's path is target/PROFILE/examples/local.
        let (Some(built), Some(target)) = (here.ancestors().nth(2), here.ancestors().nth(3)) else {
            return Err(format!("{} is not where cargo puts examples", here.display()));
        };
        let profile = match built.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        report::say("Building the function itself.");
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let status = Command::new(&cargo)
            .arg("build")
            .args(what)
            .args(["--example", "local", "--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(root)
            .status()
            .map_err(|e| format!("cannot run {}: {e}", cargo.display()))?;
        if status.success() { Ok(built.to_owned()) } else { Err("it does not build, see above".to_owned()) }
    }
}

/// How this program was started.
pub(crate) enum Started {
    /// By cargo.
    Repository,
    /// As a program of a release, by these words.
    Release(String),
}

impl Started {
    /// Finds out how this program was started.
    pub(crate) fn find() -> Self {
        match Place::find() {
            Ok(Place::Release(_)) => Self::Release(words(std::env::args().next())),
            _ => Self::Repository,
        }
    }
}

/// Returns the words that start this program again: those that did so before, if they can be typed as they are.
fn words(first: Option<String>) -> String {
    let is_plain = |words: &String| words.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    first.filter(|words| !words.is_empty() && is_plain(words)).unwrap_or_else(|| "./agent-trigger-local".to_owned())
}

/// Returns how another program of the release is started, as this one was.
pub(crate) fn beside(words: &str, other: &str) -> String {
    Path::new(words).with_file_name(other).display().to_string()
}

/// The longest time in which a program begins to listen.
const START: Duration = Duration::from_secs(30);

/// Waits until a program listens and returns its address, `http://127.0.0.1:port`. `what` names the program.
///
/// # Errors
/// If it ends before, or does not listen in time.
pub(crate) async fn listening(program: &Function, what: &str) -> Result<String, String> {
    let line = tokio::select! {
        line = program.wait_for_log("listening on ", START) => line,
        _ = program.wait_exit(START) => None,
    };
    let url = line.as_deref().and_then(|line| line.split_once("listening on ")).map(|(_, url)| url.to_owned());
    url.ok_or_else(|| {
        let hint = "Does another program listen on its port? LOCAL_PORT=0 takes any that is free.";
        format!("{what} cannot start: {}\n{hint}", program.logs().join("; "))
    })
}

fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|e| format!("cannot tell where this program is: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_a_release_are_called_as_the_first_one_was() {
        for (first, expected, other) in [
            (Some("./agent-trigger-local"), "./agent-trigger-local", "./triggerctl list"),
            (Some("/opt/try/agent-trigger-local"), "/opt/try/agent-trigger-local", "/opt/try/triggerctl list"),
            (Some("agent-trigger-local"), "agent-trigger-local", "triggerctl list"),
            (Some("./my files/agent-trigger-local"), "./agent-trigger-local", "./triggerctl list"),
            (Some(""), "./agent-trigger-local", "./triggerctl list"),
            (None, "./agent-trigger-local", "./triggerctl list"),
        ] {
            let found = words(first.map(str::to_owned));
            assert_eq!((found.as_str(), beside(&found, "triggerctl list").as_str()), (expected, other));
        }
    }
}
