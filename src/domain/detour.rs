//! Detours: the ways on which an event comes to an end without a claim of its execution.
//!
//! An earlier attempt at the same event may have claimed and died, and what it read may have changed since. So the
//! execution's row is looked at before anything is returned on a detour, unless the variant says why there is no row.
//! tests/DETOURS.md names the test of each, and `cargo test --test it detours` holds the two against each other.

/// A way past the claim. Log lines carry its name as `detour`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Detour {
    /// Too little time is left to run anything, or to look. Lambda's next delivery looks, or settling.
    TooLittleTime,
    /// The event is invalid and names no fire, so that there is no row.
    UnidentifiedEvent,
    /// A schedule's event names its fire and is invalid: settings or the function's version have changed since.
    InvalidFire,
    /// A command names a trigger that is not stored, or not any more.
    UnknownTrigger,
    /// The key of a trigger item holds no usable ids.
    UnreadableTrigger,
    /// The input that is to run again is not kept, or not any more.
    InputGone,
    /// The kept input is not understood: settings or the function's version have changed since.
    InvalidInput,
    /// The trigger is switched off, paused, deleted, or too deep in a chain.
    Skipped,
    /// The trigger item is invalid.
    InvalidTrigger,
    /// No subscribed trigger is due, or not the one that is addressed, though an earlier attempt may have run it in
    /// place: it is deleted, filters the event out, or waits for a threshold.
    NothingDue,
    /// Several triggers are due by now, or another one, though an earlier attempt ran one in place.
    HandedOn,
    /// The chain of executions is over its limit by now, and no trigger is looked for.
    ChainEnds,
    /// Nobody is subscribed to an event that looks like a schedule's, or not any more.
    Unclaimed,
    /// A report for settling holds an invalid event that names its fire.
    SettledInvalid,
    /// A report for settling says that the last attempt refused the event.
    SettledRefused,
    /// A report for settling is about an event whose trigger, which ran in place or is addressed, is not due any more.
    SettledNotDue,
    /// A report for settling is about a replay whose input is not kept, or not understood.
    SettledInputGone,
}

impl Detour {
    /// Returns the variant's name as log lines hold it, in lower case with hyphens, such as `too-little-time`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
