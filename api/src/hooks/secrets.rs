//! The secrets of hooks as the hook function reads them: cached, and each read by one request at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use agent_trigger::config::Secret;
use tokio::sync::Mutex;

use crate::clients::ssm::{SecretError, SecretStore};

/// The time for which a secret is used before it is read again.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// The time for which a secret that cannot be read is not asked for again. SSM answers 40 requests a second by default,
/// for the whole account.
const LIFE_OF_ERROR: Duration = Duration::from_secs(5);
/// The most secrets that are kept.
const MOST_KEPT: usize = 1_000;

type Known = HashMap<(String, Option<i64>), (Instant, Result<Secret, SecretError>)>;

/// The secrets.
#[derive(Debug)]
pub struct Secrets {
    store: SecretStore,
    known: Mutex<Known>,
}

impl Secrets {
    /// Creates the cache. It makes no request until the first secret is needed.
    pub fn new(store: SecretStore) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Returns one version of a hook's secret, or the newest one, from the cache for five minutes. Requests for secrets
    /// that are not known wait for one another, so that a crowd of deliveries reads a secret once.
    ///
    /// # Errors
    /// Returns an error if there is none, or SSM does not give it. The error holds for five seconds.
    pub async fn get(&self, name: &str, version: Option<i64>) -> Result<Secret, SecretError> {
        let mut known = self.known.lock().await;
        let now = Instant::now();
        let key = (name.to_owned(), version);
        if let Some((until, found)) = known.get(&key)
            && now < *until
        {
            return found.clone();
        }
        let found = self.store.get(name, version).await;
        if known.len() >= MOST_KEPT {
            known.clear();
        }
        let life = if found.is_ok() { LIFE } else { LIFE_OF_ERROR };
        known.insert(key, (Instant::now() + life, found.clone()));
        found
    }
}
