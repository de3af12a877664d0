//! The work of looking at an event, counted in steps. The publisher of an event and the author of a trigger item decide
//! together how much a look costs. Time cannot be the measure: the same event would fail on a busy machine and pass on
//! an idle one, and a retry would decide otherwise.

use std::cell::Cell;

/// The steps that a look at an event may take. A step is about the work of visiting one value: 5 to 130 ns, the more
/// the less of the event is in the processor's cache.
#[derive(Debug)]
pub struct Steps {
    limit: u64,
    taken: Cell<u64>,
}

impl Steps {
    /// Returns an allowance of `limit` steps, none of them taken.
    pub fn new(limit: u64) -> Self {
        Self { limit, taken: Cell::new(0) }
    }

    /// Takes steps, and returns true if there were so many left. Otherwise all are spent, and every later call returns
    /// false.
    pub(crate) fn take(&self, steps: u64) -> bool {
        if self.are_spent() {
            return false;
        }
        self.taken.set(self.taken.get().saturating_add(steps));
        !self.are_spent()
    }

    /// Returns true if more steps were asked for than there were.
    pub fn are_spent(&self) -> bool {
        self.taken.get() > self.limit
    }

    /// Returns the number of steps that were taken, including those that were too many. Once all were spent, none are
    /// added.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }
}

/// Returns the steps of looking at so many bytes in a row: one for every 32 bytes, rounded down. The step of the value
/// to which they belong is not included.
pub(crate) fn of_bytes(bytes: usize) -> u64 {
    (bytes / 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_spent_once_more_are_taken_than_there_are() {
        let steps = Steps::new(10);
        assert!(steps.take(10) && !steps.are_spent());
        assert!(!steps.take(5) && steps.are_spent());
        assert!(!steps.take(1) && !steps.take(0));
        assert_eq!(steps.taken(), 15, "nothing is taken once they are spent");
    }
}
