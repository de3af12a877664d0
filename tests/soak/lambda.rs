//! Lambda as the soak test needs it: environments that die and come back, retries, and reports of failures that come
//! back to be settled.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use standins::destination::{failed_messages, notification, report, sqs_batch};
use standins::{Invocation, Lambda, Outcome, Stack};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{lease, scaled};

/// The number of attempts that Lambda makes at an event.
const ATTEMPTS: u32 = 3;
/// The settle queue's delay and visibility timeout, for a lease of one second.
const QUEUE_DELAY: Duration = Duration::from_millis(1300);
/// The most receives of a message. One that is still not settled then never will be.
const MOST_RECEIVES: u32 = 60;
const MOST_CONCURRENT: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The environments of the function.
pub(crate) struct Pool {
    pub(crate) stack: Stack,
    slots: Vec<Slot>,
    /// The slots of the invocations that may still be started.
    free: Mutex<Vec<usize>>,
    permits: Semaphore,
    /// Ended processes, kept for their logs.
    ended: Mutex<Vec<Arc<Lambda>>>,
    pub(crate) invocations: AtomicUsize,
    pub(crate) kills: AtomicUsize,
}

struct Slot {
    env: Vec<(&'static str, String)>,
    lambda: tokio::sync::Mutex<Arc<Lambda>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn spawn(stack: &Stack, env: &[(&'static str, String)]) -> Arc<Lambda> {
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Arc::new(stack.function(&env).await)
}

impl Pool {
    /// Starts four environments that take one invocation at a time, and three that share the rest of the concurrency.
    pub(crate) async fn start(stack: Stack, concurrency: usize) -> Self {
        let shared = (concurrency.saturating_sub(4) / 3).max(2);
        let lease = ("LEASE_SECONDS", lease().as_secs().to_string());
        let (mut slots, mut free) = (Vec::new(), Vec::new());
        for at_once in [1, 1, 1, 1, shared, shared, shared] {
            let mut env = vec![lease.clone()];
            if at_once > 1 {
                env.push((MOST_CONCURRENT, at_once.to_string()));
            }
            free.extend(std::iter::repeat_n(slots.len(), at_once));
            let lambda = tokio::sync::Mutex::new(spawn(&stack, &env).await);
            slots.push(Slot { env, lambda });
        }
        let permits = Semaphore::new(free.len());
        let (invocations, kills) = Default::default();
        Self { stack, slots, free: Mutex::new(free), permits, ended: Mutex::default(), invocations, kills }
    }

    async fn environment(&self, slot: &Slot) -> Arc<Lambda> {
        let mut lambda = slot.lambda.lock().await;
        if !lambda.process.is_running() {
            let ended = std::mem::replace(&mut *lambda, spawn(&self.stack, &slot.env).await);
            lock(&self.ended).push(ended);
        }
        Arc::clone(&lambda)
    }

    /// Runs one invocation in some environment, and kills the process after `kill_after`. Returns how long it took, too.
    pub(crate) async fn invoke(&self, invocation: Invocation, kill_after: Option<Duration>) -> (Outcome, Duration) {
        let _permit = self.permits.acquire().await.expect("nobody closes it");
        let slot = {
            let mut free = lock(&self.free);
            let any = fastrand::usize(0..free.len());
            free.swap_remove(any)
        };
        self.invocations.fetch_add(1, Ordering::Relaxed);
        let lambda = self.environment(&self.slots[slot]).await;
        let since = Instant::now();
        let invoking = lambda.invoke(invocation);
        tokio::pin!(invoking);
        let outcome = match kill_after {
            None => invoking.await,
            Some(wait) => tokio::select! {
                outcome = &mut invoking => outcome,
                () = tokio::time::sleep(wait) => {
                    self.kills.fetch_add(1, Ordering::Relaxed);
                    lambda.kill();
                    invoking.await
                }
            },
        };
        lock(&self.free).push(slot);
        (outcome, since.elapsed())
    }

    /// Delivers an event as Lambda does, in three attempts. Returns the outcome of each, and how long the longest took.
    pub(crate) async fn deliver(
        &self,
        invocation: &Invocation,
        kill_after: Option<Duration>,
    ) -> (Vec<Outcome>, Duration) {
        let (mut told, mut longest) = (Vec::new(), Duration::ZERO);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                // After this pause the lease is over in most cases.
                tokio::time::sleep(scaled(Duration::from_millis(fastrand::u64(600..1800)))).await;
            }
            let (outcome, took) = self.invoke(invocation.clone(), kill_after.filter(|_| attempt == 0)).await;
            longest = longest.max(took);
            let is_success = outcome.is_success();
            told.push(outcome);
            if is_success {
                break;
            }
        }
        (told, longest)
    }

    /// Returns every line of every process.
    pub(crate) async fn logs(&self) -> Vec<String> {
        let mut lines: Vec<_> = lock(&self.ended).iter().flat_map(|lambda| lambda.logs()).collect();
        for slot in &self.slots {
            lines.extend(slot.lambda.lock().await.logs());
        }
        lines
    }
}

struct Message {
    id: String,
    body: String,
    receives: u32,
    settled: oneshot::Sender<()>,
}

/// The settle queue.
#[derive(Clone)]
pub(crate) struct Queue {
    messages: mpsc::UnboundedSender<Message>,
    pub(crate) batches: Arc<AtomicUsize>,
}

impl Queue {
    /// Starts the queue, which delivers messages to the function, up to ten at a time.
    pub(crate) fn start(pool: Arc<Pool>) -> Self {
        let (messages, mut waiting) = mpsc::unbounded_channel();
        let queue = Self { messages, batches: Arc::default() };
        let this = queue.clone();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, 10).await > 0 {
                this.batches.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(this.clone().settle(Arc::clone(&pool), std::mem::take(&mut batch)));
                // This pause lets several messages gather.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        queue
    }

    /// Reports an event that Lambda gave up on, and waits until it is settled.
    pub(crate) async fn report(&self, invocation: &Invocation, told: &[Outcome]) {
        let Some(last) = told.last().filter(|outcome| !outcome.is_success()) else { return };
        let attempts = u32::try_from(told.len()).unwrap_or(ATTEMPTS);
        let body = notification(&report(invocation, attempts, last).to_string());
        let (settled, wait) = oneshot::channel();
        tokio::time::sleep(scaled(QUEUE_DELAY)).await;
        let id = format!("{}-{}", invocation.request_id, fastrand::u32(..));
        self.messages.send(Message { id, body, receives: 0, settled }).expect("the queue is served");
        wait.await.expect("every message is settled");
    }

    async fn settle(self, pool: Arc<Pool>, batch: Vec<Message>) {
        let has_garbage = fastrand::u32(0..10) == 0;
        let bodies = batch.iter().map(|message| (message.id.as_str(), message.body.as_str()));
        let garbage = has_garbage.then_some(("garbage", "{\"Type\":\"Notification\",\"Message\":\"?\"}"));
        let invocation = sqs_batch(garbage.into_iter().chain(bodies)).timeout(Duration::from_secs(60));
        let failed = match pool.invoke(invocation, None).await.0 {
            // In that case SQS delivers the whole batch again.
            Outcome::Died | Outcome::TimedOut => None,
            outcome => Some(failed_messages(&outcome)),
        };
        let is_failed = |id: &str| failed.as_ref().is_none_or(|failed| failed.iter().any(|f| f == id));
        // A message that is neither a report nor an event is handed on, and fails in an invocation of its own. It must not
        // hold up the batch or come again for ever.
        let garbage_comes_again = failed.is_some() && is_failed("garbage");
        assert!(!garbage_comes_again, "garbage is handed on: {failed:?}");
        for mut message in batch {
            message.receives += 1;
            assert!(message.receives < MOST_RECEIVES, "never settled: {}", message.body);
            if !is_failed(&message.id) {
                let _ = message.settled.send(());
                continue;
            }
            let messages = self.messages.clone();
            tokio::spawn(async move {
                tokio::time::sleep(scaled(QUEUE_DELAY) / 2).await;
                let _ = messages.send(message);
            });
        }
    }
}
