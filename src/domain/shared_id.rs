//! Two users' triggers with one id. Executions are stored and identified by the id of their trigger alone. So an event
//! to which both triggers subscribe is the same execution for both. It belongs to the first one. The second is refused
//! with an error, because a silent duplicate would look as if it had run.

use crate::domain::{
    execution::Row,
    failure::{ErrorType, Failure},
};

/// The execution belongs to another user's trigger of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the execution belongs to another user's trigger of this id; a trigger's id must be unique in the whole table, across \
     all users (docs/triggers.md, The item)"
)]
pub struct OfAnotherUser;

/// Checks that a stored execution belongs to `user_id`. A row without a user passes. So does a row whose ttl has passed
/// at `now`, in milliseconds since 1970, because it counts as absent.
///
/// # Errors
/// Returns an error if it belongs to another user.
pub fn check_user(row: &Row, user_id: &str, now: i64) -> Result<(), OfAnotherUser> {
    let is_expired = row.ttl.is_some_and(|ttl| ttl <= now / 1000);
    let is_other = row.user_id.as_deref().is_some_and(|owner| owner != user_id);
    if is_other && !is_expired { Err(OfAnotherUser) } else { Ok(()) }
}

impl From<OfAnotherUser> for Failure {
    /// Returns a failure `InvalidTrigger` that no attempt repairs.
    fn from(error: OfAnotherUser) -> Self {
        Self::fatal(ErrorType::InvalidTrigger, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_living_row_of_another_user_is_refused() {
        const NOW: i64 = 1_769_842_800_000;
        for (user_id, ttl, is_refused) in [
            (Some("user-1"), None, false),
            (Some("user-2"), None, true),
            (Some("user-2"), Some(NOW / 1000 + 1), true),
            (Some("user-2"), Some(NOW / 1000), false),
            (None, None, false),
        ] {
            let row = Row { user_id: user_id.map(str::to_owned), ttl, ..Row::default() };
            assert_eq!(check_user(&row, "user-1", NOW).is_err(), is_refused, "{row:?}");
        }
    }
}
