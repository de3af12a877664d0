//! The token of a detached run: what the claim writes of it, and how the agent gets it.

use crate::{
    agent::request::parts::Callback,
    clients::random,
    clock::rfc3339,
    config::{Config, Secret},
    domain::{
        detached::{Detached, Detachment},
        report::report_key,
    },
};

/// The settings of a detached run with the token of this attempt.
#[derive(Debug, Clone)]
pub(super) struct DetachedRun {
    pub(super) settings: Detached,
    pub(super) detachment: Detachment,
    token: Secret,
}

impl DetachedRun {
    /// Returns the run of an attempt that begins at `now`, in milliseconds since 1970, with a new token.
    pub(super) fn new(settings: Detached, now: i64) -> Self {
        let token = random::token();
        let detachment = settings.detachment(report_key(token.expose()), now);
        Self { settings, detachment, token }
    }

    /// Returns the way in which the agent reports: its token, the deadline as RFC 3339, and the URL and the bus of the
    /// settings.
    pub(super) fn callback(&self, config: &Config) -> Callback {
        Callback {
            token: self.token.clone(),
            deadline: rfc3339(self.detachment.deadline),
            url: config.report_url.as_ref().map(ToString::to_string),
            event_bus_name: config.report_bus_name.clone(),
        }
    }
}
