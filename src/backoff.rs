//! Exponential backoff with full jitter. It paces all retries outside the AWS SDK.
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The number of tries of a call that was certainly not accepted.
pub(crate) const MAX_TRIES: usize = 3;

const FIRST: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(5);

/// Returns the waits between the tries of one call, one fewer than [`MAX_TRIES`]: random, up to 400 ms and then up to
/// 800 ms.
pub(crate) fn waits() -> impl Iterator<Item = Duration> + Send {
    exponential().with_max_times(MAX_TRIES - 1).build().map(full_jitter)
}

/// Returns waits without end, for a caller that has a limit of its own, such as the deadline: random, up to 400 ms at first, and up to 5 s
/// at last.
pub(crate) fn endless() -> impl Iterator<Item = Duration> + Send {
    exponential().without_max_times().build().map(full_jitter)
}

/// Returns a random wait of up to 100 ms between several writers of the same items, each of which finishes within
/// milliseconds.
pub(crate) fn short() -> Duration {
    full_jitter(Duration::from_millis(100))
}

/// Returns the caps of the waits: 400 ms, each twice the one before, and at most 5 s.
fn exponential() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(LONGEST)
}

/// Returns a random wait between zero and `cap`. backon's own jitter only adds to the delay. Full jitter spreads
/// callers over all of it.
fn full_jitter(cap: Duration) -> Duration {
    cap.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_their_doubling_caps() {
        for _ in 0..100 {
            let waits: Vec<_> = waits().collect();
            assert_eq!(waits.len(), MAX_TRIES - 1);
            assert!(waits[0] <= FIRST && waits[1] <= FIRST * 2);
            assert!(endless().take(50).all(|wait| wait <= LONGEST));
        }
    }
}
