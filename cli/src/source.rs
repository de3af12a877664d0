//! Which table is shown, and how to reach it.

use std::net::IpAddr;

use reqwest::Url;

/// The file that `cargo run --example local -- --serve` writes.
pub(crate) const ENV_FILE: &str = ".local/env";

/// Returns what the local run wrote, if it is serving in this folder or in one above it.
pub(crate) fn env_file() -> Option<String> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().find_map(|folder| std::fs::read_to_string(folder.join(ENV_FILE)).ok())
}

/// Returns a variable of the local run's file.
pub(crate) fn line<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
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
    /// Any credentials: the table is the local run's own.
    EnvFile,
}

impl Source {
    /// Finds the table: the one that `--table` names, else `TRIGGERS_TABLE_NAME`, else the local run's while it is
    /// serving.
    ///
    /// # Errors
    /// Everything that is missing or malformed.
    pub(crate) fn find(
        table: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
        env_file: Option<&str>,
    ) -> Result<Self, Vec<String>> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let named = table.map(str::to_owned).or_else(|| set("TRIGGERS_TABLE_NAME"));
        if let (None, Some(file)) = (&named, env_file) {
            let (table, endpoint) = (line(file, "TRIGGERS_TABLE_NAME"), line(file, "AWS_ENDPOINT_URL_DYNAMODB"));
            let (Some(table), Some(endpoint)) = (table, endpoint) else {
                return Err(vec![format!("{ENV_FILE} names no table and endpoint: start the local run again")]);
            };
            return Ok(Self { table: table.to_owned(), endpoint: Some(endpoint.to_owned()), access: Access::EnvFile });
        }
        let mut problems = Vec::new();
        if named.as_ref().is_none_or(String::is_empty) {
            problems.push(
                "nothing to look at: give --api URL (a stack's output ApiUrl) or --table NAME (its output TableName), or start \
                 `cargo run --example local -- --serve`"
                    .to_owned(),
            );
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
        let reason = if *access == Access::EnvFile { format!(" ({ENV_FILE})") } else { String::new() };
        format!("{table} {place}{reason}")
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "AGENT_API_URL=http://127.0.0.1:9002\nAWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:9003\n\
                        TRIGGERS_TABLE_NAME=standin-triggers\n";

    fn find(table: Option<&str>, environment: &[(&str, &str)], file: Option<&str>) -> Result<Source, Vec<String>> {
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Source::find(table, lookup, file)
    }

    #[test]
    fn the_local_runs_table_is_shown_unless_another_is_named() {
        let local = find(None, &[("TRIGGERS_TABLE_NAME", "")], Some(FILE)).unwrap();
        assert_eq!(local.access, Access::EnvFile);
        assert_eq!(local.described("-"), "standin-triggers at http://127.0.0.1:9003 (.local/env)");
        let named = find(Some("runs"), &[("TRIGGERS_TABLE_NAME", "other")], Some(FILE)).unwrap();
        assert_eq!(named, Source { table: "runs".into(), endpoint: None, access: Access::Usual });
        assert_eq!(named.described("eu-central-1"), "runs in eu-central-1");
        assert_eq!(find(None, &[("TRIGGERS_TABLE_NAME", "other")], Some(FILE)).unwrap().table, "other");
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
        assert!(find(None, &[], Some("A=b\n")).unwrap_err()[0].contains(".local/env"));
    }
}
