//! Exponential backoff with full jitter. It paces all retries outside the AWS SDK.
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The number of tries of a call that was certainly not accepted.
pub(crate) const MAX_TRIES: usize = 3;

const FIRST: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(5);

/// Returns the waits between the tries of one call, one fewer than [`MAX_TRIES`].
pub(crate) fn waits() -> impl Iterator<Item = Duration> + Send {
    exponential().with_max_times(MAX_TRIES - 1).build().map(full_jitter)
}

/// Returns waits without end, for a call that is tried until the deadline.
pub(crate) fn endless() -> impl Iterator<Item = Duration> + Send {
    exponential().without_max_times().build().map(full_jitter)
}

/// Returns a wait between several writers of the same items, each of which finishes within milliseconds.
pub(crate) fn short() -> Duration {
    full_jitter(Duration::from_millis(100))
}

fn exponential() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(LONGEST)
}

/// Returns a wait between zero and the cap. backon's own jitter only adds to the delay; full jitter spreads callers
/// over all of it.
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
