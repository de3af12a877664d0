//! The clock, the time limits of an invocation, and times in the form that records use.
//!
//! [`Clock`] is a port: the function uses [`SystemClock`], the model check (tests/model) the clocks of its simulation.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use tokio::time::Instant;

/// The least time that must be left at the start. With less, no agent can run.
const LEAST_TO_START: Duration = Duration::from_secs(5);
/// The time reserved after the run to record its end: this, or a tenth of the time that was left if that is less.
const LARGEST_MARGIN: Duration = Duration::from_secs(10);
const MARGIN_FRACTION: u32 = 10;
/// The time reserved after the last write to answer Lambda before it ends the invocation.
const LAST_WRITE: Duration = Duration::from_millis(300);

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The time as one machine sees it. Its implementations: [`SystemClock`], and the simulated clocks of the model check,
/// which differ from machine to machine and stand still while a machine is frozen.
pub trait Clock {
    /// Returns the present time in milliseconds since 1970.
    fn now_millis(&self) -> i64;

    /// Returns the present instant of the clock that sleeps are measured by. It may stand still in a frozen machine.
    fn instant(&self) -> Instant;

    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Waits for `future` until `until`. Returns `None` if `future` is not ready by then, and drops it.
    fn timeout_at<F: Future>(&self, until: Instant, future: F) -> impl Future<Output = Option<F::Output>>;
}

/// The machine's own clock, with tokio's timers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Returns [`now_millis`].
    fn now_millis(&self) -> i64 {
        now_millis()
    }

    /// Returns tokio's instant.
    fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Waits for `duration`, by tokio's timer.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }

    // No async function: one keeps both its argument and what it awaits, which doubles the caller's future.
    fn timeout_at<F: Future>(&self, until: Instant, future: F) -> impl Future<Output = Option<F::Output>> {
        tokio::time::timeout_at(until, future).map(Result::ok)
    }
}

/// Returns the present time in milliseconds since 1970. A clock before 1970 counts as 1970.
pub(crate) fn now_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A time in milliseconds since 1970, displayed as RFC 3339 in UTC with milliseconds, so that times sort as text. One
/// that no calendar has is displayed as 1970.
pub(crate) struct Rfc3339(pub(crate) i64);

impl fmt::Display for Rfc3339 {
    /// Writes the time as `2026-01-31T07:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = instant(self.0);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl Serialize for Rfc3339 {
    /// Writes the time as the text that [`Rfc3339`] displays.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns a time as [`Rfc3339`] displays it.
pub(crate) fn rfc3339(millis: i64) -> String {
    Rfc3339(millis).to_string()
}

/// Returns the milliseconds since 1970 of an RFC 3339 time, or `None` if the text is none.
pub(crate) fn millis_of(text: &str) -> Option<i64> {
    let instant = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(instant.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Returns the instant at these milliseconds since 1970, or 1970 itself if no calendar has it.
pub(crate) fn instant(millis: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns the milliseconds that have passed since an instant.
pub(crate) fn millis_since(since: Instant) -> u64 {
    millis_between(since, Instant::now())
}

/// Returns the milliseconds from an instant to a later one, and 0 if it is not later.
pub(crate) fn millis_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

/// A reading of both clocks: of the one that sleeps are measured by, and of the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The instant.
    pub instant: Instant,
    /// The time of day in milliseconds since 1970.
    pub millis: i64,
    /// The instant at which the time of day was read.
    read_at: Instant,
}

impl Moment {
    /// Returns the present moment by both clocks.
    pub(crate) fn now() -> Self {
        let instant = Instant::now();
        Self { instant, millis: now_millis(), read_at: instant }
    }

    /// Returns the present moment. The time of day is read only if a millisecond has passed since it was read last,
    /// because a stream may bring more than a thousand pieces within one. Otherwise it stays the same.
    pub(crate) fn next(self) -> Self {
        self.at(Instant::now(), now_millis)
    }

    /// Returns the moment of `instant`, with the time of day of `millis` if a millisecond has passed since that was
    /// read last, and otherwise with the same one as before.
    fn at(self, instant: Instant, millis: impl FnOnce() -> i64) -> Self {
        let is_new = instant.saturating_duration_since(self.read_at) >= Duration::from_millis(1);
        if is_new { Self { instant, millis: millis(), read_at: instant } } else { Self { instant, ..self } }
    }
}

/// The limits of an invocation's time.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// The time at which the run stops, so that its end can be written.
    pub run_until: Instant,
    /// The time by which the last write must have been answered.
    pub write_until: Instant,
    is_too_near: bool,
}

impl Deadline {
    /// Computes the limits of an invocation that Lambda ends at `deadline_millis` since 1970. A value of less than a
    /// day is not a time but the time that is left, as `cargo lambda watch` gives it. The run stops before the end, by
    /// a tenth of the time left and at most 10 s. The last write must be answered 300 ms before the end. All limits
    /// count from this call.
    pub fn new(clock: &impl Clock, deadline_millis: u64) -> Self {
        let now = u64::try_from(clock.now_millis()).unwrap_or_default();
        let left = if deadline_millis < DAY_MILLIS { deadline_millis } else { deadline_millis.saturating_sub(now) };
        // With a deadline beyond a year, a local tool says that there is none.
        let left = Duration::from_millis(left).min(Duration::from_secs(365 * 24 * 60 * 60));
        let margin = LARGEST_MARGIN.min(left / MARGIN_FRACTION);
        let now = clock.instant();
        Self {
            run_until: now + (left - margin),
            write_until: now + left.saturating_sub(LAST_WRITE),
            is_too_near: left < LEAST_TO_START,
        }
    }

    /// Returns true if fewer than 5 s were left when the deadline was made, too few to start a run.
    pub(crate) fn is_too_near(&self) -> bool {
        self.is_too_near
    }

    /// Returns true if the run's time lasts for longer than `wait` from now.
    pub fn allows(&self, clock: &impl Clock, wait: Duration) -> bool {
        // An agent may ask for a longer wait than an instant can hold.
        clock.instant().checked_add(wait).is_some_and(|then| then < self.run_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_769_842_800_120), "2026-01-31T07:00:00.120Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_time_of_day_is_read_once_in_a_millisecond() {
        let start = Instant::now();
        let mut moment = Moment { instant: start, millis: 0, read_at: start };
        // The time of day may be set back.
        for (micros, time, expected) in
            [(0, 1, 0), (400, 2, 0), (999, 3, 0), (1000, 4, 4), (1999, 5, 4), (2000, -7, -7), (900_000, 8, 8)]
        {
            let instant = start + Duration::from_micros(micros);
            moment = moment.at(instant, || time);
            assert_eq!((moment.instant, moment.millis), (instant, expected), "{micros}");
        }
    }

    #[tokio::test]
    async fn the_margin_is_ten_seconds_or_a_tenth() {
        let now = u64::try_from(now_millis()).unwrap();
        for (left, margin) in [(900, Duration::from_secs(10)), (6, Duration::from_millis(600))] {
            let deadline = Deadline::new(&SystemClock, now + left * 1000);
            let kept = (deadline.write_until + LAST_WRITE) - deadline.run_until;
            assert_eq!(kept.as_millis().div_ceil(10), margin.as_millis().div_ceil(10));
            assert!(!deadline.is_too_near());
        }
        assert!(Deadline::new(&SystemClock, now + 4_000).is_too_near());
        assert!(Deadline::new(&SystemClock, 0).is_too_near());
        assert!(Deadline::new(&SystemClock, now - 1).is_too_near());
        assert!(!Deadline::new(&SystemClock, 600_000).is_too_near());
        assert!(Deadline::new(&SystemClock, u64::MAX).allows(&SystemClock, Duration::from_secs(1)));
        assert!(!Deadline::new(&SystemClock, u64::MAX).allows(&SystemClock, Duration::MAX));
    }
}
