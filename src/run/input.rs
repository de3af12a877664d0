//! The input of a run: noted for the record, and kept before the call if the event alone does not say it. So a replay
//! repeats the same task, whatever becomes of the trigger item, the schedule's copy and this process.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::now_millis,
    domain::{agent_definition::DefinitionMark, attempt::Attempt, ending::hash_of, fire::Fire, task::Task},
    invocation::InvocationContext,
    run::attempt::AttemptRun,
    store::input::KeptInput,
    trigger::replay::{Input, task_of},
};

/// The longest time that the call waits for its input to be kept: as long as one try of the table may take. A run does
/// not fail if its input is not kept.
const KEEP_TIMEOUT: Duration = Duration::from_secs(2);

impl AttemptRun<'_> {
    /// Notes the description of what runs for the next heartbeat and for the end, unless the claim wrote the same.
    /// Notes the agent's definition, too. The hash is that of the kept input, which has the session of the attempt that
    /// kept it.
    pub(super) fn note_input(&self, fire: &Fire, definition: Option<DefinitionMark>) {
        let mut snapshot = Input::new(fire, definition.as_ref()).snapshot;
        let mut facts = self.context.state.facts();
        if let Some(hash) = &facts.kept_hash {
            snapshot.settings_hash.clone_from(hash);
        }
        let is_told = self.attempt.snapshot.as_ref() == Some(&snapshot);
        facts.snapshot = (!is_told).then_some(snapshot);
        facts.definition = definition;
    }

    /// Keeps the input of a detached run, and of any other whose event does not say everything, in at most 2 s. Returns
    /// the fire as it runs. If an earlier attempt kept an input, this is the fire with that input's task and the
    /// session of this attempt: all attempts of an execution give the agent the same task. A failure is logged only.
    pub(super) async fn keep_input(&self, fire: Arc<Fire>) -> Arc<Fire> {
        let InvocationContext { app, deadline, state, .. } = self.context;
        // An invocation that ends a detached run does not know its event, so its input is always kept.
        if fire.trigger.is_none() && fire.event_source_id.is_none() && fire.task.detached.is_none() {
            return fire;
        }
        let definition = state.facts().definition.clone();
        let input = Input::new(&fire, definition.as_ref());
        let until = deadline.run_until.min(Instant::now() + KEEP_TIMEOUT);
        let Attempt { execution_id, ttl, .. } = self.attempt;
        // The end of a detached run needs the input, to mask the prompt in the agent's words.
        let ttl = fire.task.detached.map_or(*ttl, |detached| detached.ttl(*ttl, now_millis()));
        let has_run_lock = self.owned.slot.get().is_some();
        let kept = input.keep(&app.store, &fire.trigger_id, execution_id, (has_run_lock, ttl), until).await;
        state.facts().is_input_kept = kept.is_ok();
        let Ok(KeptInput::Earlier(earlier)) = kept else { return fire };
        // The session is that of this attempt, which the record names.
        let task = task_of(&earlier, app.platform());
        let Some(task) = task.map(|task| Task { session_id: fire.task.session_id.clone(), ..task }) else {
            return fire;
        };
        state.facts().kept_hash = Some(hash_of(&earlier));
        if task == fire.task {
            self.note_input(&fire, definition);
            return fire;
        }
        let fire = Arc::new(Fire { task, ..Fire::clone(&fire) });
        state.facts().ran = Some(Arc::clone(&fire));
        self.note_input(&fire, app.agents.known(&fire.task.agent_id));
        fire
    }
}
