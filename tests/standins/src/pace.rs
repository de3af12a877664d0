//! How fast this machine is: a test that compresses minutes into seconds asks for more of them where starting a process
//! takes long.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The environment variable that overrides what is measured.
pub const SETTING: &str = "TEST_TIME_FACTOR";
/// The time in which an unoptimised function starts on two idle cores of an ordinary laptop, and as much again.
const START: Duration = Duration::from_millis(40);
const STARTS: u32 = 5;
/// The largest factor: a lease of 4 s becomes one of 16 s, which must be over within the 30 s of an invocation.
const LARGEST: u32 = 4;

static FACTOR: OnceLock<u32> = OnceLock::new();

/// Returns the factor by which the limits of tests are longer than on a fast machine. It is found out once in a process:
/// `TEST_TIME_FACTOR` if that is set, otherwise by starting `binary` without settings, which ends at once, a few times.
///
/// # Panics
/// If `TEST_TIME_FACTOR` is no whole number from 1 to 4.
pub fn factor(binary: &Path) -> u32 {
    *FACTOR.get_or_init(|| match std::env::var(SETTING) {
        Ok(set) => set
            .parse()
            .ok()
            .filter(|factor| (1..=LARGEST).contains(factor))
            .unwrap_or_else(|| panic!("{SETTING} must be a whole number from 1 to {LARGEST}, not {set}")),
        Err(_) => of_start(mean_start(binary)),
    })
}

fn mean_start(binary: &Path) -> Duration {
    let since = Instant::now();
    for _ in 0..STARTS {
        // A binary that is missing fails the tests that need it, and says so there.
        let _ = Command::new(binary).env_clear().stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    since.elapsed() / STARTS
}

/// The factor where a start takes so long.
fn of_start(start: Duration) -> u32 {
    let times = start.as_millis().div_ceil(START.as_millis());
    u32::try_from(times).unwrap_or(LARGEST).clamp(1, LARGEST)
}

#[cfg(test)]
mod tests {
    use super::{Duration, of_start};

    #[test]
    fn a_slow_start_makes_limits_longer_within_bounds() {
        let factors = [0, 20, 40, 41, 80, 81, 320, 60_000].map(|millis| of_start(Duration::from_millis(millis)));
        assert_eq!(factors, [1, 1, 1, 2, 2, 3, 4, 4]);
    }
}
