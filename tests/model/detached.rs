//! Detached runs: the agent that works on after its call and reports through the real `apply_report`, the real looks with a
//! queue that loses, doubles and delivers again, and strangers who guess tokens.

use std::{cell::Cell, rc::Rc, time::Duration};

use agent_trigger::{
    clock::Clock as _,
    domain::{
        agent_report::{AgentReport, ReportStatus},
        detached::Detached,
        execution::Row,
        look::Look,
        report::ReportAnswer,
        run_state::RunState,
        usage::Usage,
    },
    lifecycle::{
        close::CloseLimits,
        detached::cancel,
        look::look,
        looks::{LookNotSent, Looks, Sessions},
        report::apply_report,
    },
};

use crate::{
    rules::{LEASE, Rule, millis},
    schedule::{Machine, World},
    sender::Phase,
    sim::{Letter, Sim},
    table::{TRIGGER, name},
};

/// The visibility timeout of the settle queue, as the template has it.
const AGAIN: i64 = 5_400_000;
/// The time of an invocation that looks.
const LIMIT: Duration = Duration::from_secs(60);
/// The tries of a report. Then the agent gives up, as one that died.
const REPORT_TRIES: usize = 20;

/// Seeds with this bit are of detached runs. All others draw what they drew before there were any.
pub(crate) const DETACHED: u64 = 1 << 40;

pub(crate) fn is_detached(seed: u64) -> bool {
    seed & DETACHED != 0
}

/// Returns the token of an attempt.
pub(crate) fn token(owner: &str) -> String {
    format!("token of {owner}")
}

/// Draws the settings of the schedule's runs: from half a minute to half an hour.
pub(crate) fn settings(sim: &Sim) -> Detached {
    let timeout_seconds = sim.pick(&[30, 120, 600, 1_800]);
    Detached { timeout_seconds, first_report_seconds: sim.pick(&[20, 60, 300]).min(timeout_seconds) }
}

/// The behaviour of an agent that took a call, after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// It works for a while and reports this end.
    Ends(ReportStatus),
    /// It dies without a word.
    Dies,
    /// It reports that it is at work for ever.
    NeverEnds,
}

/// An agent takes a call of `owner`. Returns the interval at which it promises to report.
pub(crate) fn begins(world: &World, owner: &str) -> Option<u32> {
    let sim = &world.sim;
    let behaviour = match sim.draw(0..=9) {
        0 | 1 => Behaviour::Dies,
        2 => Behaviour::NeverEnds,
        3 | 4 => Behaviour::Ends(ReportStatus::Failed),
        _ => Behaviour::Ends(ReportStatus::Completed),
    };
    let promised = sim.chance(60).then(|| u32::try_from(sim.draw(10..=60)).unwrap_or(10));
    let interval = promised.map_or_else(|| sim.draw(20_000..=90_000), |seconds| i64::from(seconds) * 1000);
    let work = if sim.chance(30) { sim.draw(1..=3_000) } else { sim.draw(1_000..=900_000) };
    let (world, owner) = (world.clone(), owner.to_owned());
    sim.note(|| format!("the agent of {owner} {behaviour:?}, within {work} ms, promises {promised:?} s"));
    world.promises().agent_works_on(&owner, true);
    sim.spawn(None, async move {
        works(&world, &owner, behaviour, work, interval).await;
        world.promises().agent_works_on(&owner, false);
    });
    promised
}

async fn works(world: &World, owner: &str, behaviour: Behaviour, work: i64, interval: i64) {
    let sim = &world.sim;
    let end = sim.now() + work;
    loop {
        let left = if behaviour == Behaviour::NeverEnds { i64::MAX } else { end - sim.now() };
        sim.sleep(interval.min(left.max(0))).await;
        if behaviour != Behaviour::NeverEnds && sim.now() >= end {
            break;
        }
        match report(world, owner, &token(owner), ReportStatus::Running).await {
            Some(ReportAnswer::Noted { cancel: false, .. }) => {}
            Some(ReportAnswer::Noted { cancel: true, .. }) => {
                world.promises().agent_ends(owner, ReportStatus::Failed);
                report(world, owner, &token(owner), ReportStatus::Failed).await;
                return;
            }
            Some(ReportAnswer::Ended | ReportAnswer::Late | ReportAnswer::Unknown) => return,
            None => {}
        }
    }
    let Behaviour::Ends(status) = behaviour else { return };
    world.promises().agent_ends(owner, status);
    for _ in 0..if sim.chance(20) { 2 } else { 1 } {
        report(world, owner, &token(owner), status).await;
        sim.sleep(sim.draw(0..=5_000)).await;
    }
}

/// Reports until there is an answer, as an agent does that tries again.
async fn report(world: &World, owner: &str, token: &str, status: ReportStatus) -> Option<ReportAnswer> {
    let sim = &world.sim;
    for _ in 0..REPORT_TRIES {
        let answer = report_once(world, owner, token, status).await;
        if answer.is_some() {
            return answer;
        }
        sim.sleep(sim.draw(1_000..=20_000)).await;
    }
    None
}

/// One request to the reports' endpoint. It may die with its machine.
async fn report_once(world: &World, owner: &str, token: &str, status: ReportStatus) -> Option<ReportAnswer> {
    let sim = &world.sim;
    let sent: Letter<Option<ReportAnswer>> = Letter::new();
    let reply = sent.clone();
    let (world, owner, token) = (world.clone(), owner.to_owned(), token.to_owned());
    let fate = world.fate_of_short();
    let task = sim.spawn(fate, async move {
        let Machine { store, clock, sender } = world.machine("");
        *sender.token.borrow_mut() = Some(token.clone());
        let report = AgentReport {
            trigger_id: TRIGGER.into(),
            execution_id: name(world.execution()).into(),
            status,
            output: None,
            error: None,
            finish_reason: None,
            usage: Some(Usage { input_tokens: 70, output_tokens: 30, ..Usage::default() }),
        };
        let state = RunState::default();
        let limits = CloseLimits { until: clock.instant() + LIMIT, state: &state };
        let looks = SimLooks::new(&world, false);
        let applying = apply_report(&store, &looks, &token, &report, limits);
        let applied = sender.within(Phase::Report, applying).await;
        let told = applied.ok().map(|applied| applied.answer);
        world.sim.note(|| format!("the agent of {owner} reports {status:?}: {told:?}"));
        reply.deliver(&world.sim, told);
    });
    sim.ended(task).await;
    sent.try_read().flatten()
}

/// Somebody who has no token of the execution guesses one, or has an earlier attempt's.
pub(crate) async fn forges(world: &World, after: i64) {
    let sim = &world.sim;
    sim.sleep(after).await;
    for _ in 0..3 {
        let tokens = world.promises().tokens_of_others();
        let token = sim.pick(&[vec!["a guess".to_owned()], tokens].concat());
        let status = sim.pick(&[ReportStatus::Running, ReportStatus::Completed, ReportStatus::Failed]);
        report_once(world, "a stranger", &token, status).await;
        sim.sleep(sim.draw(1..=60_000)).await;
    }
}

/// Asks for the end as `Cancel Execution` does.
pub(crate) async fn cancels(world: &World) {
    let store = world.machine("").store;
    // Whether it comes through or not: people press a button once.
    let _ = cancel(&store, &SimLooks::new(world, false), TRIGGER, &name(world.execution())).await;
}

/// The settle queue as the timer.
#[derive(Clone)]
pub(crate) struct SimLooks {
    world: World,
    /// Whether the sender handles a look itself.
    is_next: bool,
    sent: Rc<Cell<u32>>,
}

impl SimLooks {
    pub(crate) fn new(world: &World, is_next: bool) -> Self {
        Self { world: world.clone(), is_next, sent: Rc::default() }
    }
}

impl Looks for SimLooks {
    async fn send(&self, look: &Look, delay: Duration) -> Result<(), LookNotSent> {
        let (sim, rules) = (&self.world.sim, self.world.rules);
        sim.sleep(sim.draw(1..=20)).await;
        let is_left_out = if self.is_next { !rules.has(Rule::LookIsSentAgain) } else { !rules.has(Rule::LookIsSent) };
        if is_left_out {
            return Ok(());
        }
        self.sent.set(self.sent.get() + 1);
        let copies = match sim.draw(0..=29) {
            0 | 1 => return Err(LookNotSent("lost".to_owned())),
            2 | 3 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let (world, look) = (self.world.clone(), look.clone());
            let delay = millis(delay) + sim.draw(0..=2_000);
            sim.spawn(None, async move { comes_back(&world, &look, delay).await });
        }
        if sim.chance(5) { Err(LookNotSent("no answer".to_owned())) } else { Ok(()) }
    }
}

impl Sessions for SimLooks {
    /// The simulated agents have no sessions that could be stopped. It only takes its time.
    async fn stop(&self, _: &Row) {
        self.world.sim.sleep(self.world.sim.draw(1..=20)).await;
    }
}

/// A look: delivered until it is dealt with.
async fn comes_back(world: &World, look_sent: &Look, delay: i64) {
    let sim = &world.sim;
    sim.sleep(delay).await;
    loop {
        let done = Letter::new();
        let reply = done.clone();
        let (this, sent) = (world.clone(), look_sent.clone());
        let task = sim.spawn(world.fate_of_short(), async move {
            let Machine { store, clock, sender } = this.machine("");
            let state = RunState::default();
            let limits = CloseLimits { until: clock.instant() + LIMIT, state: &state };
            let looks = SimLooks::new(&this, true);
            let looking = look(&store, &looks, &looks, LEASE, &sent, limits);
            let looked = sender.within(Phase::Look, looking).await;
            this.sim.note(|| format!("a look ({:?}): {:?}", sent.purpose, looked.as_ref().map(std::mem::discriminant)));
            reply.deliver(&this.sim, looked.is_ok());
        });
        sim.ended(task).await;
        if done.try_read() == Some(true) {
            return;
        }
        world.promises().look_waits(AGAIN);
        sim.sleep(AGAIN).await;
    }
}
