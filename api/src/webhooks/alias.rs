//! The alias of a webhook: a readable name that stands in its address beside the id. It is unique in the stack.

use serde_json::json;

use crate::{
    auth::Caller,
    error::ApiError,
    store::{aliases::AliasChange, hooks::Pointer},
    triggers::sync::tombstone_ttl,
};

/// Returns the change of a trigger's alias from `before` to `wanted`. The pointer of an alias that it gives up is kept
/// for 30 days, as a tombstone is: senders are told by 410 that it is gone, unless a trigger takes it anew.
pub(crate) fn alias_change<'a>(
    Caller(user_id): &Caller,
    trigger_id: &str,
    before: Option<&'a str>,
    wanted: Option<&'a str>,
) -> AliasChange<'a> {
    let owner = Pointer { user_id: user_id.to_string(), trigger_id: trigger_id.to_owned() };
    AliasChange { owner, before, wanted, retired_until: tombstone_ttl() }
}

/// Returns the error of an alias that another trigger has. Only its own user learns which one.
pub(crate) fn alias_taken(Caller(user_id): &Caller, by: &Pointer) -> ApiError {
    let description = if *by.user_id == **user_id {
        format!("is taken by your trigger {}", by.trigger_id)
    } else {
        "is taken; choose another".to_owned()
    };
    let field = "webhookConfig.alias";
    ApiError::Conflict {
        message: format!("{field}: {description}"),
        details: json!({"fieldViolations": [{"field": field, "description": description}]}),
    }
}
