//! The agent that a run is to call, made ready beside the claim.

use std::{pin::pin, sync::Arc};

use crate::{
    agent::{Agent, authorization::Authorization},
    domain::{agent_profile::AgentProfile, failure::Failure, fire::Fire},
    invocation::InvocationContext,
    telemetry::metrics::timed,
    trigger::item::TriggerItem,
};

/// The trigger item, if there is one, as it was read beside the claim.
pub(super) type FoundItem = Result<Option<TriggerItem>, Failure>;
/// The agent that the event names, as it was made ready beside the claim.
pub(super) type FoundProspect = Result<Prospect, Failure>;

/// An agent that is ready to be called.
pub(super) struct Prospect {
    pub(super) agent: Arc<Agent>,
    /// The caller's proof of identity.
    pub(super) authorization: Authorization,
    /// Its row of the agents table, where there is such a table.
    pub(super) profile: Option<AgentProfile>,
}

/// Finds the agent of `fire`, its row in the agents table and its authorization. Row and authorization are awaited
/// together. The time that the authorization takes is noted for the metrics.
///
/// # Errors
/// Returns the failure to find the agent, to get the authorization or to read the row. If the last two both fail, it is
/// the authorization's.
pub(super) async fn prospect(context: &InvocationContext<'_>, fire: &Fire) -> Result<Prospect, Failure> {
    let agents = &context.app.agents;
    let agent = agents.find(&fire.task.agent_id).await?;
    let (authorization, profile) = {
        let authorizing = pin!(agents.authorize(&agent));
        let authorizing = timed(&context.state, |facts| &mut facts.token_ms, authorizing);
        let until = context.deadline.run_until;
        tokio::join!(authorizing, agents.profile(&context.app.store, &fire.user_id, &fire.task.agent_id, until))
    };
    Ok(Prospect { agent, authorization: authorization?, profile: profile? })
}
