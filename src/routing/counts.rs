//! The counts of an event's subscriptions, for the reply and the metrics.

/// The number of an event's subscriptions, by the decisions about them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoutingCounts {
    pub(super) subscriptions: usize,
    pub(super) filtered: usize,
    pub(super) disabled: usize,
    pub(super) too_deep: usize,
    pub(super) waiting: usize,
    pub(super) dispatched: usize,
}

impl RoutingCounts {
    /// Returns the counts under the names that replies and metrics have, in a fixed order.
    pub(super) fn named(self) -> [(&'static str, usize); 6] {
        let Self { subscriptions, filtered, disabled, too_deep, waiting, dispatched } = self;
        [
            ("subscriptions", subscriptions),
            ("filtered", filtered),
            ("disabled", disabled),
            ("tooDeep", too_deep),
            ("waiting", waiting),
            ("dispatched", dispatched),
        ]
    }
}
