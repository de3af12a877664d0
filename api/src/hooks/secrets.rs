//! The secrets of hooks as the hook function reads them: cached, and each read by one request at a time.
//!
//! A version of a secret never changes, and the item of a trigger names the versions that are live. The stack's own
//! secret has no such item, so it is read again when a signature does not fit it: whoever replaces it in the Parameter
//! Store needs do no more. Anybody can send a wrong signature, so that is done seldom. The version before the newest
//! one is still good for a while after that was written, because its sender learns of the new one later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Shared, PoisonError},
    time::{Duration, Instant},
};

use agent_trigger::config::Secret;
use tokio::sync::Mutex;

use crate::clients::ssm::{SecretError, SecretStore, Stored};

/// The time for which a secret is used before it is read again. It is used no longer, even if it cannot be read then.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// The time for which a secret that cannot be read is not asked for again. SSM answers 40 requests a second by default,
/// for the whole account.
const LIFE_OF_ERROR: Duration = Duration::from_secs(5);
/// The least time between two readings of a secret because a signature did not fit it.
const PAUSE_OF_DOUBT: Duration = Duration::from_secs(10);
/// The time for which the stack's own secret is good after another one was written, in seconds.
const GRACE_SECONDS: i64 = 10 * 60;
/// The most secrets that are kept.
const MOST_KEPT: usize = 1_000;

/// The result of a reading.
type Read = Result<Stored, SecretError>;
/// The places by their secrets: the name and the version.
type Places = HashMap<(String, Option<i64>), Arc<Mutex<Place>>>;

/// What is known of one secret.
#[derive(Debug, Default)]
struct Place {
    /// The last reading that counts, and the time at which it ends.
    read: Option<(Instant, Read)>,
    /// The last reading because of a signature, and its error if it failed.
    doubt: Option<(Instant, Option<SecretError>)>,
}

impl Place {
    /// Returns what was read, a secret or an error, or `None` if nothing was read or its life is over at `now`.
    fn known(&self, now: Instant) -> Option<Read> {
        self.read.as_ref().filter(|(until, _)| now < *until).map(|(_, read)| read.clone())
    }

    /// Keeps what was read at `now`: a secret for five minutes, an error for five seconds.
    fn keep(&mut self, read: Read, now: Instant) {
        let life = if read.is_ok() { LIFE } else { LIFE_OF_ERROR };
        self.read = Some((now + life, read));
    }

    /// Returns what can be said at `now` of a signature that does not fit the secret `tried`, without reading: another
    /// secret, that there is none (`Ok(None)`), or the error of a read within the last ten seconds. Returns `None` if
    /// it must be read.
    fn doubted(&self, tried: &Secret, now: Instant) -> Option<Result<Option<Secret>, SecretError>> {
        if let Some(Ok(known)) = self.known(now)
            && known.secret.expose() != tried.expose()
        {
            return Some(Ok(Some(known.secret)));
        }
        let (_, error) = self.doubt.as_ref().filter(|(at, _)| now < *at + PAUSE_OF_DOUBT)?;
        Some(error.clone().map_or(Ok(None), Err))
    }

    /// Keeps what was read at `now` because of a signature. One that cannot be read leaves the known one in use, for as
    /// long as that one is. One that was deleted does not.
    fn keep_doubted(&mut self, read: Read, now: Instant) {
        self.doubt = Some((now, read.as_ref().err().cloned()));
        if matches!(read, Ok(_) | Err(SecretError::NotFound)) {
            self.keep(read, now);
        }
    }
}

/// The secrets.
#[derive(Debug)]
pub struct Secrets {
    store: SecretStore,
    places: Shared<Places>,
}

impl Secrets {
    /// Creates the cache. It makes no request until the first secret is needed.
    pub fn new(store: SecretStore) -> Self {
        Self { store, places: Shared::default() }
    }

    /// Returns one version of a hook's secret, or the newest one, from the cache for five minutes. Requests for one
    /// secret wait for one another, so that a crowd of deliveries reads it once.
    ///
    /// # Errors
    /// Returns an error if there is none, or SSM does not give it. The error holds for five seconds.
    pub async fn get(&self, name: &str, version: Option<i64>) -> Result<Secret, SecretError> {
        let place = self.place(name, version);
        let mut place = place.lock().await;
        if let Some(known) = place.known(Instant::now()) {
            return known.map(|stored| stored.secret);
        }
        let read = self.store.get(name, version).await;
        place.keep(read.clone(), Instant::now());
        read.map(|stored| stored.secret)
    }

    /// Returns the version before the newest one that is known, if the newest one was written less than ten minutes
    /// before `now`, in seconds since 1970, and otherwise `None`.
    ///
    /// # Errors
    /// Returns an error if SSM does not give it. It may be good.
    pub async fn replaced(&self, name: &str, now: i64) -> Result<Option<Secret>, SecretError> {
        let newest = self.place(name, None).lock().await.known(Instant::now());
        let Some(version) = newest.and_then(|newest| version_before(&newest.ok()?, now)) else { return Ok(None) };
        match self.get(name, Some(version)).await {
            Ok(secret) => Ok(Some(secret)),
            Err(SecretError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the newest version of a secret, if it is another one than `tried`, which did not fit a signature, and
    /// otherwise `None`. Unless the cache has another one already, it is read again, at most once in ten seconds.
    ///
    /// # Errors
    /// Returns an error if it could not be read the last time. Then nobody knows whether the signature is right.
    pub async fn other_than(&self, name: &str, tried: &Secret) -> Result<Option<Secret>, SecretError> {
        let place = self.place(name, None);
        let mut place = place.lock().await;
        if let Some(said) = place.doubted(tried, Instant::now()) {
            return said;
        }
        // The pause counts from before the reading: what is written meanwhile may not be seen by it.
        let asked = Instant::now();
        let read = self.store.get(name, None).await;
        place.keep_doubted(read.clone(), asked);
        read.map(|stored| Some(stored.secret).filter(|secret| secret.expose() != tried.expose()))
    }

    /// Returns the place of a version of a secret in the cache, and makes one if there is none. A cache of
    /// [`MOST_KEPT`] places is emptied before it gets a new one.
    fn place(&self, name: &str, version: Option<i64>) -> Arc<Mutex<Place>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), version);
        if places.len() >= MOST_KEPT && !places.contains_key(&key) {
            places.clear();
        }
        Arc::clone(places.entry(key).or_default())
    }
}

/// Returns the version that is still good beside the newest one at `now`, in seconds since 1970, or `None`.
fn version_before(newest: &Stored, now: i64) -> Option<i64> {
    let is_young = newest.written.is_some_and(|written| now < written + GRACE_SECONDS);
    Some(newest.version - 1).filter(|version| *version > 0 && is_young)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(read: &Read) -> &str {
        match read {
            Ok(stored) => stored.secret.expose(),
            Err(SecretError::NotFound) => "not found",
            Err(_) => "unavailable",
        }
    }

    fn stored(secret: &str, version: i64, written: Option<i64>) -> Stored {
        Stored { secret: Secret::new(secret), version, written }
    }

    fn read(what: &str) -> Read {
        match what {
            "not found" => Err(SecretError::NotFound),
            "unavailable" => Err(SecretError::Unavailable("x".to_owned())),
            secret => Ok(stored(secret, 1, None)),
        }
    }

    #[test]
    fn a_secret_is_known_for_five_minutes_and_an_error_for_five_seconds() {
        for (what, seconds) in [("one", 300), ("not found", 5), ("unavailable", 5)] {
            let (mut place, start) = (Place::default(), Instant::now());
            assert!(place.known(start).is_none());
            place.keep(read(what), start);
            let at = |seconds| place.known(start + Duration::from_secs(seconds));
            assert_eq!((at(seconds - 1).as_ref().map(said), at(seconds).is_none()), (Some(what), true));
        }
    }

    /// The rows: what is read because of a signature after `one` was read, what is known then, and what is said of a
    /// further signature that does not fit `one`, at once and after ten seconds.
    #[test]
    fn a_wrong_signature_reads_again_and_a_failure_leaves_what_is_known() {
        let start = Instant::now();
        let text = |said: Option<Result<Option<Secret>, SecretError>>| match said {
            None => "read".to_owned(),
            Some(Ok(None)) => "no other".to_owned(),
            Some(Ok(Some(secret))) => secret.expose().to_owned(),
            Some(Err(error)) => said_of(&error).to_owned(),
        };
        fn said_of(error: &SecretError) -> &'static str {
            if *error == SecretError::NotFound { "not found" } else { "unavailable" }
        }
        for (again, known, at_once, later) in [
            ("one", "one", "no other", "read"),
            ("two", "two", "two", "two"),
            ("unavailable", "one", "unavailable", "read"),
            ("not found", "not found", "not found", "read"),
        ] {
            let mut place = Place::default();
            place.keep(read("one"), start);
            let tried = Secret::new("one");
            assert_eq!(text(place.doubted(&tried, start)), "read", "the first doubt reads at once");
            place.keep_doubted(read(again), start);
            assert_eq!(place.known(start).as_ref().map(said), Some(known), "{again}");
            let after = |seconds| text(place.doubted(&tried, start + Duration::from_secs(seconds)));
            assert_eq!((after(9), after(10)), (at_once.to_owned(), later.to_owned()), "{again}");
        }
        // A failure does not lengthen the time for which the known one is used.
        let mut place = Place::default();
        place.keep(read("one"), start);
        place.keep_doubted(read("unavailable"), start + Duration::from_secs(299));
        assert!(place.known(start + Duration::from_secs(300)).is_none());
    }

    #[test]
    fn the_version_before_is_good_for_ten_minutes() {
        for (version, written, now, expected) in [
            (2, Some(1_000), 1_000, Some(1)),
            (7, Some(1_000), 1_599, Some(6)),
            (7, Some(1_000), 1_600, None),
            (1, Some(1_000), 1_000, None),
            (2, None, 1_000, None),
            // The clocks differ.
            (2, Some(1_000), 990, Some(1)),
        ] {
            assert_eq!(version_before(&stored("x", version, written), now), expected, "{version} {written:?} {now}");
        }
    }
}
