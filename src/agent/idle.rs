//! The limit of the wait for an answer's next piece: one timer for the whole answer.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of an answer. A piece of the answer moves the time at which the wait is over, and leaves the timer as it
/// is. The timer is armed anew only when it goes off too early, because an agent may send many small pieces.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Option<Duration>,
    /// The time at which the wait is over. Without it the wait is not limited.
    until: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    /// Limits the silence to `limit` from `since` on. Without `limit`, the answer may be silent for ever.
    pub(super) fn new(limit: Option<Duration>, since: Instant) -> Idle {
        let mut idle = Idle { limit, until: None, timer: None };
        idle.heard(since);
        idle
    }

    /// Returns the limit of a silence, or `None` if there is none or [`Self::end_at`] has replaced it.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Notes that a piece came at `at`: the wait is over once the limit has passed from then on. Without a limit, or
    /// after [`Self::end_at`], nothing changes.
    pub(super) fn heard(&mut self, at: Instant) {
        if let Some(limit) = self.limit {
            // A limit that no instant can hold is none.
            self.until = at.checked_add(limit);
        }
    }

    /// Ends the wait at `until`, whatever comes meanwhile: no later piece moves it.
    pub(super) fn end_at(&mut self, until: Instant) {
        self.limit = None;
        self.until = Some(until);
        if let Some(timer) = &mut self.timer
            && until < timer.deadline()
        {
            timer.as_mut().reset(until);
        }
    }

    /// Waits until the wait is over. Without a limit, and without [`Self::end_at`], this never returns.
    pub(super) async fn over(&mut self) {
        poll_fn(|context| self.poll_over(context)).await;
    }

    /// Returns `Ready` once the wait is over. The timer is made with the first call, and armed anew if it went off too
    /// early.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        while timer.as_mut().poll(context).is_ready() {
            match still_to_wait(timer.deadline(), until) {
                Some(until) => timer.as_mut().reset(until),
                None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

/// Returns the time for which a timer that went off at `armed` must be armed anew: `until`, the end of the wait.
/// Returns `None` if that is not later.
fn still_to_wait(armed: Instant, until: Instant) -> Option<Instant> {
    (armed < until).then_some(until)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_timer_that_goes_off_too_early_is_armed_for_the_rest() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        for (armed, until, expected) in
            [(5, 5, None), (5, 4, None), (5, 6, Some(6)), (0, 86_400, Some(86_400)), (86_400, 0, None)]
        {
            assert_eq!(still_to_wait(at(armed), at(until)), expected.map(at), "{armed} {until}");
        }
    }

    /// The time at which the timer would go off, and whether the wait is over.
    fn state(idle: &mut Idle) -> (Option<Instant>, bool) {
        let is_over = idle.poll_over(&mut Context::from_waker(Waker::noop())).is_ready();
        (idle.timer.as_ref().map(|timer| timer.deadline()), is_over)
    }

    #[tokio::test]
    async fn pieces_move_the_end_of_the_wait_and_not_the_timer() {
        let now = Instant::now();
        let mut idle = Idle::new(Some(HOUR), now);
        assert_eq!(state(&mut idle), (Some(now + HOUR), false));
        for n in 1..=3 {
            idle.heard(now + HOUR * n);
            assert_eq!(state(&mut idle), (Some(now + HOUR), false));
            assert_eq!(idle.until, Some(now + HOUR * (n + 1)));
        }
    }

    #[tokio::test]
    async fn the_timer_goes_on_for_what_is_left_and_then_ends_the_wait() {
        let now = Instant::now();
        let past = now.checked_sub(HOUR).unwrap();
        let mut idle = Idle::new(Some(Duration::ZERO), past);
        assert_eq!(state(&mut idle), (Some(past), true));
        idle.heard(now + HOUR);
        assert_eq!(state(&mut idle), (Some(now + HOUR), false));
    }

    #[tokio::test]
    async fn an_end_that_is_set_is_kept_whatever_comes() {
        let now = Instant::now();
        for limit in [None, Some(Duration::from_secs(1)), Some(HOUR), Some(Duration::MAX)] {
            let mut idle = Idle::new(limit, now);
            assert!(!state(&mut idle).1);
            idle.end_at(now + HOUR / 2);
            idle.heard(now + HOUR);
            assert!(!state(&mut idle).1);
            assert_eq!((idle.until, idle.limit()), (Some(now + HOUR / 2), None));
            idle.end_at(now.checked_sub(HOUR).unwrap());
            assert!(state(&mut idle).1, "{limit:?}");
        }
    }

    #[tokio::test]
    async fn without_a_limit_there_is_no_timer() {
        let now = Instant::now();
        for limit in [None, Some(Duration::MAX)] {
            let mut idle = Idle::new(limit, now);
            idle.heard(now);
            assert_eq!(state(&mut idle), (None, false));
        }
    }
}
