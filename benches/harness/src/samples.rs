//! Repeated measurements and their typical values.

use std::time::Duration;

/// The measurements of one thing.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a time, kept in milliseconds.
    pub fn time(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// Returns the median.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns the median and half the distance between the quartiles, which says how far to trust it.
    pub fn show(&self, unit: &str) -> String {
        let spread = (self.quantile(0.75) - self.quantile(0.25)) / 2.0;
        format!("{} ± {} {unit}", digits(self.median()), digits(spread))
    }

    /// Returns the ratio of each measurement to the one of `other` that was taken beside it.
    #[must_use]
    pub fn by(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(mine, theirs)| mine / theirs).collect())
    }

    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len().saturating_sub(1)) as f64 * q;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        let of = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        of(low) + (of(high) - of(low)) * at.fract()
    }
}

/// Formats a number with its significant digits only.
pub fn digits(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Converts bytes to MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
