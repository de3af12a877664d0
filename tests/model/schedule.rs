//! One schedule: what is drawn for it, who takes part, and how it goes.

use std::{cell::Cell, rc::Rc};

use agent_trigger::{
    clock::{Clock as _, Deadline},
    domain::{detached::Detached, policy::Overlap},
    store::{
        Store,
        expression::Expression,
        table::{ConditionalWrite, Table as _},
    },
};
use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    Counts,
    agent::Agent,
    alone::Alone,
    attempt::{Attempt, Detour},
    clock::SimClock,
    detached::{self, is_detached, settings},
    network::{Client, Outage, Weather},
    promises::{Broken, Promise, Promises, REFUSED, Told},
    rules::{Rule, Rules},
    sender::Sender,
    settler,
    sim::{Fate, Letter, Sim, TaskId},
    table::{TRIGGER, Table, name},
};

/// As in `src/shutdown.rs`.
const GRACE: i64 = 1_800;

/// What can go wrong in a schedule; shrinking takes out what a violation does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Attempts die at any step.
    Deaths,
    /// Attempts are frozen, and wake after a while.
    Freezes,
    /// Their clocks differ.
    Skew,
    /// Applied, but the answer is lost.
    LostAnswers,
    /// Writes arrive when nobody waits for them any more.
    LateWrites,
    /// The table is away, for all or for one.
    Outages,
    /// Requests are slow, lost or throttled.
    BadNetwork,
    /// The fire is delivered again as another Lambda request.
    SecondRequest,
    /// A Lambda request is delivered twice.
    Twins,
    Cancelling,
    /// The agent refuses calls.
    Refusals,
    /// `onInterrupted: "rerun"`.
    Rerun,
    /// `onInterrupted` is edited from delivery to delivery.
    Edits,
    /// Invocations with little time.
    ShortDeadlines,
    /// The clock that sleeps are measured by stands still while an attempt is frozen.
    StoppedClocks,
    /// Two or three fires of a trigger that may not run twice at once.
    Overlap,
    /// The later of them cancel the earlier, rather than being skipped.
    CancelOther,
    /// Some of the fires find the number that may run at once lowered by one.
    Lowered,
    /// Deliveries find the trigger deleted, or switched off, and route past the claim.
    Detours,
    /// SIGTERM ends processes in the middle of their attempts.
    Terminations,
    /// The index by which an event's trigger is found does not show it to some deliveries.
    IndexLag,
    /// Strangers report with tokens that are not the execution's.
    Forgeries,
}

impl Trouble {
    pub(crate) const ALL: [Self; 22] = [
        Self::Deaths,
        Self::Freezes,
        Self::Skew,
        Self::LostAnswers,
        Self::LateWrites,
        Self::Outages,
        Self::BadNetwork,
        Self::SecondRequest,
        Self::Twins,
        Self::Cancelling,
        Self::Refusals,
        Self::Rerun,
        Self::Edits,
        Self::ShortDeadlines,
        Self::StoppedClocks,
        Self::Overlap,
        Self::CancelOther,
        Self::Lowered,
        Self::Detours,
        Self::Terminations,
        Self::IndexLag,
        Self::Forgeries,
    ];
}

/// What a schedule came to.
pub(crate) struct Verdict {
    pub(crate) broken: Option<(Promise, String)>,
    pub(crate) trace: Vec<String>,
}

/// Whether a seed's schedule is one of several fires, if it may have that trouble: known before it is run.
pub(crate) fn has_several_fires(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

/// Whether a seed's schedule has edits, if it may have that trouble. It is never one of several fires.
pub(crate) fn has_edits(seed: u64) -> bool {
    seed % 8 == 1
}

/// Seeds with this bit are of a trigger of which so many fires may run at once. All others draw what they drew before.
pub(crate) const SLOTS: u64 = 1 << 41;

/// Whether a seed's schedule is one of a trigger with slots.
fn has_slots(seed: u64) -> bool {
    seed & SLOTS != 0
}

/// Draws how many fires of a trigger may run at once, at most.
fn slots(sim: &Sim) -> u32 {
    sim.pick(&[1, 2, 2, 3])
}

/// Runs the schedule of a seed; its outcomes are added to `counts`.
pub(crate) fn run(
    seed: u64,
    without: Option<Rule>,
    troubles: &[Trouble],
    traces: bool,
    counts: &mut Counts,
) -> Verdict {
    let sim = Sim::new(seed, traces);
    // The function's own jitter.
    fastrand::seed(seed);
    let rules = Rules { without };
    // Each drawn whether or not it is allowed, so that taking one out leaves the others as they were.
    let has = |trouble: Trouble, percent: i64| sim.chance(percent) & troubles.contains(&trouble);
    let detached = is_detached(seed).then(|| settings(&sim));
    let rerun = has(Trouble::Rerun, 50) && detached.is_none();
    if has(Trouble::StoppedClocks, 40) {
        sim.stop_clocks();
    }
    let several = (has_several_fires(seed) || has_slots(seed)) && troubles.contains(&Trouble::Overlap);
    let overlap = match (several, has(Trouble::CancelOther, 50)) {
        (false, _) => Overlap::Allow,
        (true, _) if has_slots(seed) => Overlap::AtMost(slots(&sim)),
        (true, false) => Overlap::Skip,
        (true, true) => Overlap::CancelOther,
    };
    let count = match overlap {
        Overlap::Allow => 1,
        Overlap::AtMost(most) => usize::try_from(most).unwrap_or(1) + sim.pick(&[1, 2]),
        Overlap::Skip | Overlap::CancelOther => sim.pick(&[2, 2, 3]),
    };
    let broken = Broken::default();
    let fires: Rc<Vec<_>> = Rc::new((0..count).map(|_| Promises::new(broken.clone())).collect());
    let alone = Alone::new(Rc::clone(&fires), overlap.slots(), broken.clone());
    let table = Table::new(sim.clone(), Rc::clone(&fires), alone.clone());
    let weather = Rc::new(weather(&sim, count, has));
    // An event that is refused leaves no record. A claim that arrives more than a minute late, when the refusal is settled,
    // would find nothing that refuses it: the function's client gives up after 5 s, so this is not modelled.
    // Several fires have none, and no draw for it: what is looked for among them is rare enough.
    let has_detours = !several && has(Trouble::Detours, 30) && weather.late == 0;
    // An event that no trigger is seen for leaves no record either.
    let has_lag = !several && has(Trouble::IndexLag, 30) && weather.late == 0 && !has_detours;
    let has_terminations = has(Trouble::Terminations, 40);
    let world = World {
        rules,
        rerun,
        detached,
        is_edited: has_edits(seed) && troubles.contains(&Trouble::Edits),
        overlap,
        is_skewed: has(Trouble::Skew, 60),
        death_percent: if has(Trouble::Deaths, 60) { 40 } else { 0 },
        freeze_percent: if has(Trouble::Freezes, 60) { 40 } else { 0 },
        has_short_deadlines: has(Trouble::ShortDeadlines, 40),
        agent: Agent {
            sim: sim.clone(),
            promises: fires[0].clone(),
            alone: alone.clone(),
            execution: 0,
            refuses: if has(Trouble::Refusals, 50) { 50 } else { 0 },
            world: Rc::default(),
        },
        weather,
        detour_percent: if has_detours { 40 } else { 0 },
        is_event: has_lag,
        lag_percent: if has_lag { 40 } else { 0 },
        termination_percent: if has_terminations { 30 } else { 0 },
        table: table.clone(),
        delivers_again_at_settling: Rc::default(),
        actors: Rc::default(),
        sim: sim.clone(),
    };
    if detached.is_some() {
        *world.agent.world.borrow_mut() = Some(world.clone());
    }
    // Fires come in any order: one may have waited in a queue.
    let spread = sim.pick(&[2_000, 30_000, 30_000, 300_000]);
    for execution in 0..count {
        let first = if count == 1 { 0 } else { sim.draw(0..=spread) };
        let mut world = world.of(&fires, execution);
        if let Overlap::AtMost(most) = overlap
            && has(Trouble::Lowered, 20)
        {
            world.overlap = Overlap::AtMost(most.saturating_sub(1).max(1));
        }
        world.fire(first, has);
    }
    let has_ended = sim.run(|| broken.is_any());
    // The world holds its agent, which holds the world.
    world.agent.world.take();
    for (execution, promises) in fires.iter().enumerate() {
        if !broken.is_any() {
            promises.over(has_ended, table.row(execution).as_ref());
        }
        promises.count(table.row(execution).as_ref(), counts);
    }
    alone.count(counts);
    Verdict { broken: broken.first(), trace: sim.take_trace() }
}

fn weather(sim: &Sim, fires: usize, has: impl Fn(Trouble, i64) -> bool) -> Weather {
    let is_bad = has(Trouble::BadNetwork, 50);
    let mut weather = Weather {
        slow: if is_bad { 50 } else { 0 },
        lost: if is_bad { 5 } else { 0 },
        throttled: if is_bad { 10 } else { 0 },
        lost_answers: if has(Trouble::LostAnswers, 50) { 15 } else { 0 },
        late: if has(Trouble::LateWrites, 50) { sim.draw(5..=30) } else { 0 },
        outages: Vec::new(),
    };
    let outages = if has(Trouble::Outages, 50) { sim.draw(1..=4) } else { 0 };
    for _ in 0..outages {
        let from = sim.now() + if sim.chance(50) { sim.draw(0..=60_000) } else { sim.draw(0..=400_000) };
        weather.outages.push(Outage {
            actor: sim.chance(60).then(|| usize::try_from(sim.draw(0..=3)).unwrap_or(0)),
            from,
            to: from + sim.draw(1_000..=120_000),
            is_silent: sim.chance(50),
        });
    }
    // A fire that works on without the table is the worst for the others.
    if fires > 1 && has(Trouble::Outages, 60) {
        let from = sim.now() + sim.draw(0..=40_000);
        let (to, is_silent) = (from + sim.draw(40_000..=120_000), sim.chance(50));
        weather.outages.push(Outage { actor: Some(0), from, to, is_silent });
    }
    weather
}

/// What every actor of a schedule shares.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) rules: Rules,
    table: Table,
    weather: Rc<Weather>,
    pub(crate) agent: Agent,
    pub(crate) rerun: bool,
    /// The settings of its detached runs, if they are.
    pub(crate) detached: Option<Detached>,
    /// Whether each delivery says anew what `onInterrupted` is.
    is_edited: bool,
    overlap: Overlap,
    is_skewed: bool,
    death_percent: i64,
    freeze_percent: i64,
    has_short_deadlines: bool,
    /// How many deliveries find the trigger deleted or switched off.
    detour_percent: i64,
    /// Whether the fire is an event's, whose trigger is looked for in the index.
    is_event: bool,
    /// How many deliveries and reports of the event the index does not show its trigger to.
    lag_percent: i64,
    /// How many attempts get SIGTERM.
    termination_percent: i64,
    /// The fire's second request is to come when the first is being settled.
    delivers_again_at_settling: Rc<Cell<bool>>,
    actors: Rc<Cell<usize>>,
}

impl World {
    /// The same for another fire.
    fn of(&self, fires: &[Promises], execution: usize) -> Self {
        let agent = Agent { promises: fires[execution].clone(), execution, ..self.agent.clone() };
        Self { agent, delivers_again_at_settling: Rc::default(), ..self.clone() }
    }

    /// The same for another agent.
    pub(crate) fn with(&self, agent: Agent) -> Self {
        Self { agent, ..self.clone() }
    }

    /// All that comes of one fire, from `first` on.
    fn fire(&self, first: i64, has: impl Fn(Trouble, i64) -> bool) {
        let sim = &self.sim;
        self.deliver("r1", first);
        if has(Trouble::Twins, 25) {
            self.deliver("r1", first + sim.draw(0..=200_000));
        }
        if has(Trouble::SecondRequest, 50) {
            if sim.chance(50) {
                self.deliver("r2", first + sim.draw(0..=400_000));
            } else {
                self.delivers_again_at_settling.set(true);
            }
        }
        if has(Trouble::Cancelling, 30) {
            self.cancel_after(first + sim.draw(0..=250_000));
        }
        if self.detached.is_some() && has(Trouble::Forgeries, 40) {
            let (world, after) = (self.clone(), first + sim.draw(0..=200_000));
            sim.spawn(None, async move { detached::forges(&world, after).await });
        }
    }

    /// One asynchronous Lambda request: up to three invocations, then what reports its failure.
    fn deliver(&self, request_id: &'static str, after: i64) {
        let world = self.clone();
        self.sim.spawn(None, async move {
            let sim = &world.sim;
            sim.sleep(after).await;
            let mut was_refused = false;
            for wait in [60_000, 120_000, 0] {
                let told = world.invoke(request_id).await;
                if told.is_some_and(Told::is_success) {
                    return;
                }
                was_refused = told == Some(REFUSED);
                sim.sleep(if sim.chance(70) { wait } else { sim.draw(0..=150_000) }).await;
            }
            if world.delivers_again_at_settling.take() {
                world.deliver("r2", settler::DELAY + sim.draw(-100..=50));
            }
            let messages = if sim.chance(20) { 2 } else { 1 };
            for _ in 0..messages {
                let world = world.clone();
                sim.spawn(None, async move { settler::receive(&world, request_id, was_refused).await });
            }
        });
    }

    /// One invocation, and what came of it until its time was up.
    async fn invoke(&self, request_id: &'static str) -> Option<Told> {
        let sim = &self.sim;
        let time = if self.has_short_deadlines && sim.chance(50) {
            sim.draw(5_000..=40_000)
        } else {
            sim.draw(60_000..=400_000)
        };
        let deadline = sim.now() + time;
        let Machine { store, clock, sender } = self.machine("a");
        let is_past_the_claim = self.detour_percent > 0 && sim.chance(self.detour_percent);
        let detour = is_past_the_claim.then(|| sim.pick(&[Detour::Gone, Detour::SwitchedOff]));
        let detour = if self.is_unseen() { Some(Detour::Unseen) } else { detour };
        let is_terminated = self.termination_percent > 0 && sim.chance(self.termination_percent);
        let terminated_at = is_terminated.then(|| sim.now() + sim.draw(0..=60_000));
        // Lambda's own clock is the machine's.
        let lambda_deadline = u64::try_from(clock.now_millis() + time).unwrap_or_default();
        let attempt = Attempt {
            sim: sim.clone(),
            rules: self.rules,
            agent: self.agent.clone(),
            sender,
            request_id: request_id.to_owned(),
            overlap: self.overlap,
            detour,
            is_event: self.is_event,
            terminated_at,
            world: self.clone(),
            is_armed: Cell::new(false),
            deadline: Deadline::new(&clock, lambda_deadline),
            store,
            clock,
        };
        let promises = self.agent.promises.clone();
        let (sender, clock) = (Rc::clone(&attempt.sender), attempt.clock.ahead);
        let answer = Letter::new();
        let sent = answer.clone();
        let fate = self.fate();
        let task = sim.spawn(fate, async move {
            attempt.sim.note(|| {
                format!(
                    "{} starts for {request_id} of {}, clock +{clock} ms",
                    attempt.sender.owner,
                    name(attempt.sender.execution)
                )
            });
            let told = Box::pin(attempt.run()).await;
            attempt.sim.note(|| format!("{} tells Lambda {told:?}", attempt.sender.owner));
            attempt.agent.promises.told(&attempt.sender.owner, told);
            sent.deliver(&attempt.sim, told);
        });
        promises.starts(&sender, request_id, task, clock);
        let owner = &sender.owner;
        if let Some(at) = terminated_at {
            self.terminate(owner, task, at);
        }
        let ended = Box::pin(sim.ended(task));
        futures_util::future::select(ended, Box::pin(sim.sleep_until(deadline))).await;
        if !sim.is_done(task) {
            sim.note(|| format!("{owner} is out of time"));
            // A frozen environment may be forgotten rather than ended, and wake later.
            if !(sim.is_frozen(task) && sim.chance(70)) {
                sim.kill(task);
            }
            return None;
        }
        answer.try_read()
    }

    /// Whether the index does not show the event's trigger.
    pub(crate) fn is_unseen(&self) -> bool {
        self.lag_percent > 0 && self.sim.chance(self.lag_percent)
    }

    /// SIGTERM at this time: the attempt is told, and its process ends a little later.
    fn terminate(&self, owner: &str, task: TaskId, at: i64) {
        let (sim, promises, owner) = (self.sim.clone(), self.agent.promises.clone(), owner.to_owned());
        self.sim.spawn(None, async move {
            sim.sleep_until(at).await;
            if !sim.is_done(task) {
                sim.note(|| format!("{owner} gets SIGTERM"));
                promises.terminated(&owner);
                sim.sleep(GRACE).await;
                if !sim.is_done(task) {
                    sim.note(|| format!("the process of {owner} ends"));
                    sim.kill(task);
                }
            }
        });
    }

    fn cancel_after(&self, after: i64) {
        let world = self.clone();
        self.sim.spawn(None, async move {
            world.sim.sleep(after).await;
            if world.detached.is_some() {
                return detached::cancels(&world).await;
            }
            // Whether it comes through or not: people press a button once.
            let _ = world.machine("").store.table().write(cancel(world.execution()), false).await;
        });
    }

    /// A machine whose owner's id begins with `prefix`, or that is no attempt's.
    pub(crate) fn machine(&self, prefix: &str) -> Machine {
        let actor = self.actors.replace(self.actors.get() + 1);
        let sender = Rc::new(Sender {
            owner: if prefix.is_empty() { String::new() } else { format!("{prefix}{actor}") },
            execution: self.execution(),
            rerun: if self.detached.is_some() {
                false
            } else if self.is_edited && !prefix.is_empty() {
                self.sim.chance(50)
            } else {
                self.rerun
            },
            may_freeze: self.freeze_percent > 0,
            ..Sender::default()
        });
        let (sim, rules) = (self.sim.clone(), self.rules);
        let clock = SimClock { sim, rules, sender: Rc::clone(&sender), ahead: self.ahead() };
        let client = Client {
            sim: self.sim.clone(),
            rules: self.rules,
            table: self.table.clone(),
            weather: Rc::clone(&self.weather),
            actor,
            sender: Rc::clone(&sender),
        };
        Machine { store: Store::with_ports(client, clock.clone()), clock, sender }
    }

    pub(crate) fn promises(&self) -> &Promises {
        &self.agent.promises
    }

    pub(crate) fn execution(&self) -> usize {
        self.agent.execution
    }

    /// How far a clock is ahead: two of them differ by a sixth of the lease at most.
    fn ahead(&self) -> i64 {
        let skew = crate::rules::millis(crate::rules::LEASE.skew());
        if self.is_skewed { self.sim.pick(&[0, skew, self.sim.draw(0..=skew)]) } else { 0 }
    }

    /// What befalls an invocation that takes a moment: it dies now and then.
    pub(crate) fn fate_of_short(&self) -> Option<(u32, Fate)> {
        let sim = &self.sim;
        let dies = sim.chance(self.death_percent / 5);
        dies.then(|| (u32::try_from(sim.draw(1..=12)).unwrap_or(1), Fate::Dies))
    }

    fn fate(&self) -> Option<(u32, Fate)> {
        let sim = &self.sim;
        let polls = if sim.chance(60) { sim.draw(1..=16) } else { sim.draw(1..=90) };
        let fate = if sim.chance(self.death_percent) {
            Fate::Dies
        } else if sim.chance(self.freeze_percent) {
            Fate::Sleeps(sim.draw(1_000..=180_000))
        } else {
            return None;
        };
        Some((u32::try_from(polls).unwrap_or(1), fate))
    }
}

/// The machine of an attempt, of settling or of a person.
pub(crate) struct Machine {
    pub(crate) store: Store<Client, SimClock>,
    pub(crate) clock: SimClock,
    pub(crate) sender: Rc<Sender>,
}

/// Asks for the end of whatever may still run, as docs/record.md tells people to.
fn cancel(execution: usize) -> ConditionalWrite {
    let name_of = |attribute: &str| (format!("#{attribute}"), attribute.to_owned());
    ConditionalWrite::Update {
        key: (format!("TRIGGER#{TRIGGER}"), format!("EXECUTION#{}", name(execution))),
        update: "SET #cancelRequested = :true".to_owned(),
        condition: Some("#status = :running OR #retryable = :true".to_owned()),
        expression: Expression {
            names: ["status", "retryable", "cancelRequested"].map(name_of).into(),
            values: [
                (":running".to_owned(), AttributeValue::S("running".to_owned())),
                (":true".to_owned(), AttributeValue::Bool(true)),
            ]
            .into(),
        },
    }
}
