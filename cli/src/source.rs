//! The table that is shown, and the way to reach it.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use reqwest::Url;

use crate::called;

/// The file that a local run which serves writes.
pub(crate) const ENV_FILE: &str = ".local/env";

/// The file of the local run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvFile {
    pub(crate) path: PathBuf,
    text: String,
}

impl EnvFile {
    /// Finds the file of a local run that is serving in this folder or in one above it.
    pub(crate) fn find() -> Option<Self> {
        let here = std::env::current_dir().ok()?;
        here.ancestors().find_map(|folder| Self::read(&folder.join(ENV_FILE)))
    }

    /// Reads a file, or returns `None` if the local run did not write it. Anybody may write a file of this name into a
    /// folder above, and a prompt or a token must not go where that file says. So the file must be the caller's own,
    /// with the mode that the local run gives it, and name addresses on this machine alone.
    fn read(path: &Path) -> Option<Self> {
        let text = own(path).ok()?;
        let file = Self { path: path.to_owned(), text };
        file.is_local().then_some(file)
    }

    /// Returns true if the file names the table and its endpoint, and no address elsewhere.
    fn is_local(&self) -> bool {
        let is_near = |name: &str| self.line(name).map(|url| Url::parse(url).is_ok_and(|url| is_loopback(&url)));
        self.line("TRIGGERS_TABLE_NAME").is_some_and(|table| !table.is_empty())
            && is_near("AWS_ENDPOINT_URL_DYNAMODB") == Some(true)
            && is_near("AGENT_TRIGGER_API") != Some(false)
    }

    /// Returns a variable of the file.
    pub(crate) fn line(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Reads a file that nobody but the caller can read or write.
#[cfg(unix)]
fn own(path: &Path) -> io::Result<String> {
    use std::{io::Read, os::unix::fs::MetadataExt};

    let checked = |metadata: fs::Metadata| {
        // A file that only its owner may read was opened by its owner, or by root. The owner of this entry is the
        // caller.
        let is_foreign = fs::metadata("/proc/self").is_ok_and(|own| own.uid() != metadata.uid());
        let is_own = metadata.is_file() && metadata.mode() & 0o077 == 0 && !is_foreign;
        is_own.then_some(()).ok_or(io::Error::from(io::ErrorKind::PermissionDenied))
    };
    // To open a FIFO is to wait for its writer. The opened file may be another by then, so it is checked again.
    checked(fs::metadata(path)?)?;
    let mut file = fs::File::open(path)?;
    checked(file.metadata()?)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file. The local run needs Unix, so there is none elsewhere.
#[cfg(not(unix))]
fn own(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

/// A table and the way to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) table: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) access: Access,
}

/// The credentials and the region to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The credentials of the environment and the profile, as with every AWS tool.
    Usual,
    /// The usual credentials, or else any: a DynamoDB on this machine does not check them.
    UsualOrAny,
    /// Any credentials: the table is the local run's own, and this file names it.
    EnvFile(EnvFile),
}

impl Source {
    /// Finds the table: the one that `--table` names, else `TRIGGERS_TABLE_NAME`, else the local run's while it is
    /// serving. The local run's file is looked for in the last case alone.
    ///
    /// # Errors
    /// Everything that is missing or malformed.
    pub(crate) fn find(
        table: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
        env_file: impl FnOnce() -> Option<EnvFile>,
    ) -> Result<Self, Vec<String>> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let named = table.map(str::to_owned).or_else(|| set("TRIGGERS_TABLE_NAME"));
        let file = if named.is_none() { env_file() } else { None };
        if let Some(file) = file {
            return Ok(Self {
                table: file.line("TRIGGERS_TABLE_NAME").unwrap_or_default().to_owned(),
                endpoint: file.line("AWS_ENDPOINT_URL_DYNAMODB").map(str::to_owned),
                access: Access::EnvFile(file),
            });
        }
        let mut problems = Vec::new();
        if named.as_ref().is_none_or(String::is_empty) {
            problems.push(format!(
                "nothing to look at: give --api URL (a stack's output ApiUrl) or --table NAME (its output TableName), or start \
                 `{}`",
                called::local_run()
            ));
        }
        let endpoint =
            ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"].into_iter().find_map(|name| Some((name, set(name)?)));
        let url = endpoint.as_ref().map(|(name, url)| (name, Url::parse(url).ok().filter(Url::has_host)));
        if let Some((name, None)) = &url {
            problems.push(format!("{name} is no URL"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let is_near = url.and_then(|(_, url)| url).is_some_and(|url| is_loopback(&url));
        Ok(Self {
            table: named.unwrap_or_default(),
            endpoint: endpoint.map(|(_, url)| url),
            access: if is_near { Access::UsualOrAny } else { Access::Usual },
        })
    }

    /// Describes the table for a reader.
    pub(crate) fn described(&self, region: &str) -> String {
        let Self { table, endpoint, access } = self;
        let place = endpoint.as_ref().map_or_else(|| format!("in {region}"), |endpoint| format!("at {endpoint}"));
        let reason =
            if let Access::EnvFile(file) = access { format!(" ({})", file.path.display()) } else { String::new() };
        format!("{table} {place}{reason}")
    }
}

/// Returns true if the host of a URL is `localhost` or a loopback address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "AGENT_API_URL=http://127.0.0.1:9002\nAWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:9003\n\
                        TRIGGERS_TABLE_NAME=standin-triggers\n";

    fn file(text: &str) -> EnvFile {
        EnvFile { path: PathBuf::from("/here/.local/env"), text: text.to_owned() }
    }

    fn find(table: Option<&str>, environment: &[(&str, &str)], file: Option<&EnvFile>) -> Result<Source, Vec<String>> {
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Source::find(table, lookup, || file.cloned())
    }

    #[test]
    fn the_local_runs_table_is_shown_unless_another_is_named() {
        let file = file(FILE);
        let local = find(None, &[("TRIGGERS_TABLE_NAME", "")], Some(&file)).unwrap();
        assert_eq!(local.access, Access::EnvFile(file.clone()));
        assert_eq!(local.described("-"), "standin-triggers at http://127.0.0.1:9003 (/here/.local/env)");
        let named = find(Some("runs"), &[("TRIGGERS_TABLE_NAME", "other")], Some(&file)).unwrap();
        assert_eq!(named, Source { table: "runs".into(), endpoint: None, access: Access::Usual });
        assert_eq!(named.described("eu-central-1"), "runs in eu-central-1");
        assert_eq!(find(None, &[("TRIGGERS_TABLE_NAME", "other")], Some(&file)).unwrap().table, "other");
    }

    #[test]
    fn a_file_that_the_local_run_did_not_write_is_passed_over() {
        assert!(file(FILE).is_local());
        for text in [
            "A=b\n".to_owned(),
            FILE.replace("standin-triggers", ""),
            FILE.replace("127.0.0.1:9003", "example.com"),
            format!("{FILE}AGENT_TRIGGER_API=https://example.com\n"),
            format!("{FILE}AGENT_TRIGGER_API=none\n"),
        ] {
            assert!(!file(&text).is_local(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_or_write_is_passed_over() {
        use std::os::unix::fs::PermissionsExt;

        let path = std::env::temp_dir().join(format!("triggerctl-{}", uuid::Uuid::new_v4()));
        fs::write(&path, FILE).unwrap();
        for (mode, is_taken) in [(0o600, true), (0o400, true), (0o644, false), (0o620, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(EnvFile::read(&path).is_some(), is_taken, "{mode:o}");
        }
        fs::remove_file(&path).unwrap();
        // Nobody writes into it, so a reader would wait for ever.
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
        assert!(EnvFile::read(&path).is_none());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_listens_on_this_machine_needs_no_credentials() {
        for (url, access) in [
            ("http://localhost:8000", Access::UsualOrAny),
            ("http://127.0.0.1:9003", Access::UsualOrAny),
            ("http://[::1]:9003", Access::UsualOrAny),
            ("http://dynamodb.example.com", Access::Usual),
        ] {
            for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
                let source = find(Some("runs"), &[(name, url)], None).unwrap();
                assert_eq!((source.endpoint.as_deref(), source.access), (Some(url), access.clone()));
            }
        }
    }

    #[test]
    fn every_problem_is_named() {
        let problems = find(None, &[("AWS_ENDPOINT_URL_DYNAMODB", "9003")], None).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("--table") && problems[1].contains("AWS_ENDPOINT_URL_DYNAMODB"), "{problems:?}");
        assert!(find(Some(""), &[], None).unwrap_err()[0].contains("--table"));
    }
}
