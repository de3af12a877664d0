//! The settings of the reports surface. They are read once from the environment, and every problem is reported
//! together.

use crate::settings::{Reader, SettingsError};

/// The settings that the environment gives.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// `TRIGGERS_TABLE_NAME`.
    pub table_name: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_CA_BUNDLE`: a PEM file of roots to trust besides Mozilla's.
    pub ca_bundle: Option<String>,
    /// `SETTLE_QUEUE_URL`: the queue that takes the looks which count ends and stop agents' sessions. Without it no end
    /// is counted, and no session stopped.
    pub settle_queue: Option<String>,
    /// `LOCAL_PORT`: the port of 127.0.0.1 to listen on, if this does not run on Lambda; 0 means any.
    pub local_port: Option<u16>,
}

impl ReportSettings {
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
            settle_queue: reader.optional("SETTLE_QUEUE_URL"),
            local_port: reader.port("LOCAL_PORT"),
        };
        if reader.problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems: reader.problems }) }
    }
}
