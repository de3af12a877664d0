//! The settings of the hooks surface. The function that faces the internet gets no others.

use crate::settings::{Reader, SettingsError};

/// The settings that the environment gives.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// `TRIGGERS_TABLE_NAME`.
    pub table_name: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_CA_BUNDLE`: a PEM file of roots to trust besides Mozilla's.
    pub ca_bundle: Option<String>,
    /// `RUN_FUNCTION_ARN`: the function that runs agents.
    pub run_function: String,
    /// `HOOK_SECRET_PATH`: the path of the SSM parameters that hold the secrets. It begins and ends with a slash.
    pub secret_path: String,
    /// `LOCAL_PORT`: the port of 127.0.0.1 to listen on, if this does not run on Lambda; 0 means any.
    pub local_port: Option<u16>,
}

impl HookSettings {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// The error names every variable that is missing or malformed.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads settings through `lookup`. An empty or blank value counts as unset.
    ///
    /// # Errors
    /// The error names every variable that is missing or malformed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let settings = Self {
            table_name: reader.required("TRIGGERS_TABLE_NAME"),
            region: reader.required("AWS_REGION"),
            ca_bundle: reader.optional("AWS_CA_BUNDLE"),
            run_function: reader.required("RUN_FUNCTION_ARN"),
            secret_path: reader.required("HOOK_SECRET_PATH"),
            local_port: reader.port("LOCAL_PORT"),
        };
        if !settings.secret_path.is_empty() && !is_path(&settings.secret_path) {
            reader.problems.push("HOOK_SECRET_PATH must begin and end with a slash".to_owned());
        }
        if reader.problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems: reader.problems }) }
    }
}

/// Returns true if a text can be the path of parameters: it begins and ends with a slash, and has more than one
/// character.
pub fn is_path(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_at_once() {
        let settings = HookSettings::from_lookup(|name| match name {
            "HOOK_SECRET_PATH" => Some("hooks".to_owned()),
            "LOCAL_PORT" => Some("port".to_owned()),
            "AWS_REGION" => Some("r".to_owned()),
            _ => None,
        });
        let problems = settings.unwrap_err().problems;
        let names: Vec<_> = problems.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["TRIGGERS_TABLE_NAME", "RUN_FUNCTION_ARN", "LOCAL_PORT", "HOOK_SECRET_PATH"]);
    }
}
