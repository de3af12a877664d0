//! The scheduler: tasks on one thread in virtual time. Everything random is drawn from one seeded generator, what is due
//! at the same millisecond runs in a drawn order, and a task may be killed or put to sleep at any of its awaits.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    future::poll_fn,
    ops::RangeInclusive,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use fastrand::Rng;

/// The most wakes of one schedule; one that needs more does not end.
const MAX_WAKES: u32 = 200_000;

/// The start of every schedule, in milliseconds since 1970: a time at which no ttl has passed.
pub(crate) const START: i64 = 1_800_000_000_000;

pub(crate) type TaskId = usize;

/// What befalls a task at one of its awaits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Dies,
    /// For that many milliseconds; what is due meanwhile comes at once when it wakes.
    Sleeps(i64),
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    future: Option<Work>,
    is_done: bool,
    frozen_until: i64,
    last_awake: i64,
    /// How long its clock has stood still.
    stopped: i64,
    polls: u32,
    fate: Option<(u32, Fate)>,
    waiters: Vec<TaskId>,
}

#[derive(Clone)]
pub(crate) struct Sim(Rc<Core>);

struct Core {
    now: Cell<i64>,
    tokens: Cell<u64>,
    wakes: Cell<u32>,
    current: Cell<TaskId>,
    rng: RefCell<Rng>,
    queue: RefCell<BinaryHeap<Reverse<(i64, u32, TaskId)>>>,
    tasks: RefCell<Vec<Task>>,
    trace: RefCell<Vec<String>>,
    traces: bool,
    /// Whether what sleeps are measured by stands still in a frozen machine.
    stops_clocks: Cell<bool>,
}

impl Sim {
    pub(crate) fn new(seed: u64, traces: bool) -> Self {
        Self(Rc::new(Core {
            now: Cell::new(START),
            tokens: Cell::new(0),
            wakes: Cell::new(0),
            current: Cell::new(0),
            rng: RefCell::new(Rng::with_seed(seed)),
            queue: RefCell::default(),
            tasks: RefCell::default(),
            trace: RefCell::default(),
            traces,
            stops_clocks: Cell::new(false),
        }))
    }

    pub(crate) fn stop_clocks(&self) {
        self.0.stops_clocks.set(true);
    }

    /// Milliseconds by the clock that the sleeps of the running task are measured by.
    pub(crate) fn clock(&self) -> i64 {
        self.now() - self.stopped()
    }

    fn stopped(&self) -> i64 {
        self.0.tasks.borrow()[self.current()].stopped
    }

    /// Milliseconds by the clock that no actor sees.
    pub(crate) fn now(&self) -> i64 {
        self.0.now.get()
    }

    pub(crate) fn draw(&self, range: RangeInclusive<i64>) -> i64 {
        self.0.rng.borrow_mut().i64(range)
    }

    /// Returns a token that no other call has.
    pub(crate) fn token(&self) -> u64 {
        self.0.tokens.replace(self.0.tokens.get() + 1)
    }

    pub(crate) fn chance(&self, percent: i64) -> bool {
        self.draw(0..=99) < percent
    }

    pub(crate) fn pick<T: Clone>(&self, choices: &[T]) -> T {
        let index = self.0.rng.borrow_mut().usize(0..choices.len());
        choices[index].clone()
    }

    /// Notes a step, if this schedule is one that is told afterwards.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.0.traces {
            let line = format!("{:>9.3} s  {}", (self.now() - START) as f64 / 1000.0, text());
            self.0.trace.borrow_mut().push(line);
        }
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.0.trace.take()
    }

    pub(crate) fn spawn(&self, fate: Option<(u32, Fate)>, future: impl Future<Output = ()> + 'static) -> TaskId {
        let mut tasks = self.0.tasks.borrow_mut();
        tasks.push(Task {
            future: Some(Box::pin(future)),
            is_done: false,
            frozen_until: i64::MIN,
            last_awake: self.now(),
            stopped: 0,
            polls: 0,
            fate,
            waiters: Vec::new(),
        });
        let id = tasks.len() - 1;
        drop(tasks);
        self.wake_at(self.now(), id);
        id
    }

    /// The task that runs now.
    pub(crate) fn current(&self) -> TaskId {
        self.0.current.get()
    }

    pub(crate) fn is_frozen(&self, id: TaskId) -> bool {
        self.0.tasks.borrow()[id].frozen_until > self.now()
    }

    pub(crate) fn last_awake(&self, id: TaskId) -> i64 {
        self.0.tasks.borrow()[id].last_awake
    }

    /// Whether a task is frozen, or was and cannot know it yet: after a third of a lease it looks at the time itself.
    pub(crate) fn is_unaware(&self, id: TaskId, heartbeat: i64) -> bool {
        let tasks = self.0.tasks.borrow();
        let for_longer = if tasks[id].stopped > 0 { heartbeat } else { 0 };
        tasks[id].frozen_until.saturating_add(for_longer) >= self.now()
    }

    pub(crate) fn is_done(&self, id: TaskId) -> bool {
        self.0.tasks.borrow()[id].is_done
    }

    /// One of the moments that a frozen task must survive and chance seldom finds: the task that runs may freeze at its
    /// next await.
    pub(crate) fn may_freeze_here(&self) {
        if self.chance(50) {
            let task = &mut self.0.tasks.borrow_mut()[self.current()];
            task.fate = Some((task.polls + 1, Fate::Sleeps(self.draw(20_000..=180_000))));
        }
    }

    /// Ends a task other than the one that runs.
    pub(crate) fn kill(&self, id: TaskId) {
        let future = self.0.tasks.borrow_mut()[id].future.take();
        self.end(id);
        drop(future);
    }

    pub(crate) async fn sleep(&self, millis: i64) {
        self.sleep_until(self.now() + millis).await;
    }

    pub(crate) async fn sleep_until(&self, at: i64) {
        let stopped = self.stopped();
        let mut set_for = None;
        poll_fn(|_| {
            let at = at + self.stopped() - stopped;
            if self.now() >= at {
                return Poll::Ready(());
            }
            if set_for.replace(at) != Some(at) {
                self.wake_at(at, self.current());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits for a task's end, by itself or not.
    pub(crate) async fn ended(&self, id: TaskId) {
        poll_fn(|_| {
            let task = &mut self.0.tasks.borrow_mut()[id];
            if task.is_done {
                return Poll::Ready(());
            }
            task.waiters.push(self.current());
            Poll::Pending
        })
        .await;
    }

    /// Runs until nothing is left to do or `stop` says so; `false` if it does not end.
    pub(crate) fn run(&self, stop: impl Fn() -> bool) -> bool {
        while !stop() {
            let Some(Reverse((at, _, id))) = self.0.queue.borrow_mut().pop() else { return true };
            self.0.now.set(at.max(self.now()));
            self.0.wakes.set(self.0.wakes.get() + 1);
            if self.0.wakes.get() > MAX_WAKES {
                return false;
            }
            self.poll(id);
        }
        true
    }

    fn poll(&self, id: TaskId) {
        let Some(mut future) = self.let_fate_have(id) else { return };
        self.0.current.set(id);
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.end(id);
        } else {
            self.0.tasks.borrow_mut()[id].future = Some(future);
        }
    }

    /// The task's future, unless the task is dead, frozen, or becomes so now.
    fn let_fate_have(&self, id: TaskId) -> Option<Work> {
        let mut tasks = self.0.tasks.borrow_mut();
        let task = &mut tasks[id];
        task.future.as_ref()?;
        if task.frozen_until > self.now() {
            return None;
        }
        task.polls += 1;
        match task.fate {
            Some((polls, fate)) if polls <= task.polls => {
                task.fate = None;
                match fate {
                    Fate::Dies => {
                        self.note(|| format!("task {id} dies"));
                        let future = task.future.take();
                        drop(tasks);
                        self.end(id);
                        drop(future);
                    }
                    Fate::Sleeps(millis) => {
                        self.note(|| format!("task {id} freezes for {millis} ms"));
                        task.frozen_until = self.now() + millis;
                        task.stopped += if self.0.stops_clocks.get() { millis } else { 0 };
                        let at = task.frozen_until;
                        drop(tasks);
                        self.wake_at(at, id);
                    }
                }
                None
            }
            _ => {
                task.last_awake = self.now();
                task.future.take()
            }
        }
    }

    fn end(&self, id: TaskId) {
        let task = &mut self.0.tasks.borrow_mut()[id];
        task.is_done = true;
        for waiter in task.waiters.drain(..) {
            self.wake_at(self.now(), waiter);
        }
    }

    fn wake_at(&self, at: i64, id: TaskId) {
        let order = self.0.rng.borrow_mut().u32(..);
        self.0.queue.borrow_mut().push(Reverse((at, order, id)));
    }
}

/// One answer on its way to a task that may have gone.
pub(crate) struct Letter<T>(Rc<Slot<T>>);

struct Slot<T> {
    value: RefCell<Option<T>>,
    reader: Cell<Option<TaskId>>,
}

impl<T> Clone for Letter<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Letter<T> {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Slot { value: RefCell::new(None), reader: Cell::new(None) }))
    }

    pub(crate) fn deliver(&self, sim: &Sim, value: T) {
        *self.0.value.borrow_mut() = Some(value);
        if let Some(reader) = self.0.reader.get() {
            sim.wake_at(sim.now(), reader);
        }
    }

    pub(crate) fn try_read(&self) -> Option<T> {
        self.0.value.borrow_mut().take()
    }

    pub(crate) async fn read(&self, sim: &Sim) -> T {
        poll_fn(|_| {
            self.0.reader.set(Some(sim.current()));
            self.0.value.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
