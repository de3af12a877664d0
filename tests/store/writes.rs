//! Every conditional write of the store, caught at the table port, with the rows that it is applied to.

use std::time::Duration;

use agent_trigger::{
    clock::{Clock as _, Deadline, SystemClock},
    domain::{
        attempt::{Attempt, StartTime},
        ending::Ending,
        execution::{ExecutionRef, Holder, Lease, Row, Status},
        failure::{ErrorType, Failure},
        fire::{Fire, Origin},
        policy::Policy,
        run_state::RunState,
        task::Task,
        threshold::Threshold,
    },
    lifecycle::abandoned::close_abandoned,
    lifecycle::claim::claim_or_give_up,
    lifecycle::close::CloseLimits,
    store::{
        News,
        endings::{EndingWrite, key_of},
        run_slots::LookBack,
        table::ConditionalWrite,
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Cases, Recorder};

const LEASE: Lease = Lease(Duration::from_secs(30));
pub(crate) const EXECUTION: ExecutionRef<'static> = ExecutionRef { user_id: "u", trigger_id: "t", execution_id: "e2" };
pub(crate) const HOLDER: Holder<'static> = Holder { execution: EXECUTION, owner: "me" };
/// A time in the past of every clock, milliseconds since 1970.
pub(crate) const NOW: i64 = 1_700_000_000_000;
const FAR: i64 = 9_000_000_000_000;

fn fire() -> Fire {
    Fire {
        trigger_id: "t".into(),
        user_id: "u".into(),
        task: Task::unknown(),
        trigger: None,
        origin: Origin::Request { dispatcher: None },
        event_id: None,
        source: None,
        event_source_id: None,
        detail_type: None,
        event_time: None,
        chain_depth: 0,
        replay_of: None,
        waiting: None,
        replayed_definition: None,
        is_stored: false,
    }
}

fn attempt() -> Attempt {
    Attempt {
        execution_id: "e2".into(),
        owner: "me".to_owned(),
        attempt: 2,
        lambda_request_id: "r".to_owned(),
        started_at: "2027-01-15T08:00:00.000Z".to_owned(),
        ttl: FAR / 1000,
        session_id: "s".to_owned(),
        trace: None,
        snapshot: None,
        before: None,
        usage_before: None,
        detachment: None,
    }
}

fn failed() -> Ending {
    Ending::new(Status::Failed, NOW, Some(Failure::fatal(ErrorType::AgentFailed, "broken")))
}

/// A failed row that may be claimed again, with all that a write rests on.
fn seen() -> Row {
    Row {
        status: Status::Failed,
        owner: Some("other".to_owned()),
        attempt: Some(1),
        lease_until: Some(NOW),
        cancel_requested: Some(true),
        retryable: true,
        ..Row::default()
    }
}

/// The cases of a write that demands the row as [`seen`] says.
fn unchanged(name: &'static str, write: ConditionalWrite) -> Cases {
    let satisfying = json!({"status": "failed", "owner": "other", "attempt": 1, "leaseUntil": NOW,
        "cancelRequested": true, "retryable": true, "error": "before", "errorType": "AgentUnavailable"});
    let violating = [
        json!({"status": "running"}),
        json!({"owner": "me"}),
        json!({"owner": null}),
        json!({"attempt": 2}),
        json!({"leaseUntil": NOW + 1}),
        json!({"cancelRequested": false}),
        json!({"cancelRequested": null}),
        json!({"retryable": false}),
    ];
    refused(name, write, satisfying, &violating)
}

/// Cases of which each change is refused, and so is a write without a row.
pub(crate) fn refused(name: &'static str, write: ConditionalWrite, satisfying: Value, violating: &[Value]) -> Cases {
    let changed = violating.iter().map(|change| (change.clone(), false)).collect();
    Cases { name, write, satisfying: Some(satisfying), changed, creates: false }
}

/// The cases of a write that demands that there is no row, or one whose ttl had passed at [`NOW`].
fn absent(name: &'static str, write: ConditionalWrite) -> Cases {
    let changed = vec![(json!({"ttl": NOW / 1000 + 1}), false), (json!({"ttl": null}), false)];
    Cases { name, write, satisfying: Some(json!({"ttl": NOW / 1000})), changed, creates: true }
}

/// The cases of an input, which demands that none is kept, or one whose ttl has passed.
fn kept_input(write: ConditionalWrite) -> Cases {
    let long_ago = json!({"detail": "other", "ttl": NOW / 1000});
    let changed = vec![(json!({"ttl": FAR / 1000}), false), (json!({"ttl": null}), false)];
    Cases { name: "the input", write, satisfying: Some(long_ago), changed, creates: true }
}

/// The cases of a write that demands that there is no item at all.
fn first(name: &'static str, write: ConditionalWrite) -> Cases {
    Cases { name, write, satisfying: None, changed: vec![(json!({"executionId": "e1"}), false)], creates: true }
}

/// Every conditional write.
pub(crate) async fn all() -> Vec<Cases> {
    let mut all = records().await;
    all.extend(endings().await);
    all.extend(locks().await);
    all.extend(slots().await);
    all.extend(counters().await);
    all.extend(crate::detached::all().await);
    all
}

async fn records() -> Vec<Cases> {
    let recorder = Recorder::default();
    recorder.store().claim_new(&fire(), &attempt(), FAR, NOW).await.expect("a claim");
    let claim_new = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().claim_over(&fire(), &attempt(), FAR, &seen()).await.expect("a claim");
    let claim_over = recorder.written(0);
    let recorder = Recorder::default();
    let bare = Row { status: Status::Running, ..Row::default() };
    recorder.store().claim_over(&fire(), &attempt(), FAR, &bare).await.expect("a claim");
    let claim_bare = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().heartbeat(HOLDER, NOW, News::default()).await.expect("a heartbeat");
    let heartbeat = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().remember_execution_id("t", "r", "e2", FAR / 1000).await.expect("an id");
    let remembered = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().keep_input("t", "e2", "{}", false, FAR / 1000).await.expect("an input");
    let input = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().touch_trigger("u", "t", "2027-01-15T08:00:00.000Z").await.expect("a trigger");
    let touched = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().request_cancel("t", "e2").await.expect("a request");
    let cancelled = recorder.written(0);
    let mine = json!({"status": "running", "owner": "me", "leaseUntil": NOW});
    let mut heartbeat = refused(
        "heartbeat",
        heartbeat,
        mine,
        &[json!({"owner": "other"}), json!({"status": "failed"}), json!({"leaseUntil": NOW + 1})],
    );
    heartbeat.changed.push((json!({"leaseUntil": NOW - 1}), true));
    vec![
        absent("claim of an absent row", claim_new),
        unchanged("claim over a row", claim_over),
        refused(
            "claim over a row without attributes",
            claim_bare,
            json!({"status": "running"}),
            &[
                json!({"status": "failed"}),
                json!({"owner": "other"}),
                json!({"attempt": 1}),
                json!({"leaseUntil": NOW}),
                json!({"cancelRequested": true}),
            ],
        ),
        heartbeat,
        first("the id of a fire", remembered),
        kept_input(input),
        Cases {
            name: "lastExecutedAt",
            write: touched,
            satisfying: Some(json!({"enabled": true})),
            changed: Vec::new(),
            creates: false,
        },
        refused("cancelRequested", cancelled, json!({"status": "running"}), &[json!({"status": "failed"})]),
    ]
}

async fn endings() -> Vec<Cases> {
    let build = |write: EndingWrite<'_>| write.build(key_of(EXECUTION), true);
    let (seen, ending, fire, attempt) = (seen(), failed(), fire(), attempt());
    let cancelled = Ending::new(Status::Cancelled, NOW, None);
    // The trigger's part of an end, as the settling of a dead run writes it.
    let dead = Row { status: Status::Running, owner: Some("other".to_owned()), ..Row::default() };
    let trigger = json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t", "health": "failing", "failures": 2, "enabled": true});
    let health_of = async |trigger: Value, row: &Row| {
        // The input is read first: it would say what the dead attempt ran.
        let recorder = Recorder::reading([None, Some(trigger)]);
        let row = Some(row.clone());
        let state = RunState::default();
        let until = Instant::now() + Duration::from_secs(60);
        let limits = CloseLimits { until, state: &state };
        close_abandoned(&recorder.store(), LEASE, &fire, "e2", row, None, limits).await.expect("an end");
        recorder.written(1)
    };
    let health = health_of(trigger, &dead).await;
    let new_health = health_of(json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t"}), &dead).await;
    vec![
        refused(
            "the attempt's own end",
            build(EndingWrite::Finished { owner: "me", ending: &ending }),
            json!({"status": "running", "owner": "me"}),
            &[json!({"status": "failed"}), json!({"owner": "other"})],
        ),
        unchanged("an abandoned execution fails", build(EndingWrite::Abandoned { seen: &seen, ending: &ending })),
        unchanged(
            "an abandoned execution is cancelled",
            build(EndingWrite::Abandoned { seen: &seen, ending: &cancelled }),
        ),
        absent(
            "an execution that never ran",
            build(EndingWrite::NeverRun { fire: &fire, attempt: &attempt, ending: &ending, now: NOW }),
        ),
        unchanged("a failure is made final", build(EndingWrite::Finalised { seen: &seen })),
        refused(
            "the trigger's health",
            health,
            json!({"health": "failing", "failures": 2, "enabled": true}),
            &[json!({"health": "ok"}), json!({"failures": 3}), json!({"enabled": false}), json!({"failures": null})],
        ),
        refused(
            "the trigger's first health",
            new_health,
            json!({"name": "new"}),
            &[json!({"health": "ok"}), json!({"failures": 3}), json!({"enabled": true})],
        ),
    ]
}

async fn locks() -> Vec<Cases> {
    let take = async |recorder: Recorder, has_waited, index| {
        recorder.store().take_run_lock(HOLDER, LEASE, has_waited).await.expect("a run lock");
        recorder.written(index)
    };
    let free = take(Recorder::default(), false, 0).await;
    let waited = take(Recorder::default(), true, 0).await;
    let held = json!({"executionId": "e1", "owner": "other", "leaseUntil": FAR});
    let ended = Recorder::reading([Some(json!({"status": "completed", "owner": "other"}))]).refusing(&held);
    let over = take(ended, false, 1).await;
    let recorder = Recorder::default();
    recorder.store().keep_run_lock(HOLDER, 0, NOW).await.expect("a run lock");
    let keep = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().release_run_lock(HOLDER, 0).await.expect("a run lock");
    let release = recorder.written(0);
    let lapsed = json!({"executionId": "e1", "owner": "other", "leaseUntil": 0});
    let of_another = vec![
        (json!({"leaseUntil": FAR}), false),
        // Its own, the answer lost; and its own, extended since.
        (json!({"executionId": "e2", "owner": "me", "leaseUntil": until(&free)}), true),
        (json!({"executionId": "e2", "owner": "me", "leaseUntil": FAR}), false),
        // Over by this clock, but not by every other.
        (json!({"leaseUntil": until(&free) - 30_000}), false),
        (json!({"leaseUntil": until(&free) - 30_000 - 5_001}), true),
    ];
    let mut of_waiter = of_another.clone();
    of_waiter.push((json!({"executionId": "e3"}), false));
    of_waiter.push((json!({"executionId": null}), true));
    vec![
        Cases {
            name: "the run lock",
            write: free,
            satisfying: Some(lapsed.clone()),
            changed: of_another,
            creates: true,
        },
        Cases {
            name: "the run lock after waiting",
            changed: retimed(&of_waiter, &waited),
            write: waited,
            satisfying: Some(lapsed),
            creates: true,
        },
        refused(
            "the run lock of one that has ended",
            over,
            held,
            &[json!({"executionId": "e3"}), json!({"owner": "me"}), json!({"leaseUntil": FAR + 1})],
        ),
        refused(
            "the run lock is kept",
            keep,
            json!({"owner": "me", "leaseUntil": NOW}),
            &[json!({"owner": "other"}), json!({"leaseUntil": 0}), json!({"leaseUntil": NOW + 1})],
        ),
        refused("the run lock is released", release, json!({"owner": "me"}), &[json!({"owner": "other"})]),
    ]
}

#[tokio::test]
async fn no_claim_is_begun_once_the_time_is_up() {
    for (left, is_sent) in [(60_000, true), (-1, false)] {
        let at = u64::try_from(SystemClock.now_millis() + left).expect("a time after 1970");
        let (recorder, state) = (Recorder::default(), RunState::default());
        let deadline = Deadline::new(&SystemClock, at);
        let claimed = claim_or_give_up(&recorder.store(), &fire(), &mut attempt(), LEASE, deadline, &state).await;
        assert_eq!(claimed.is_ok(), is_sent, "{claimed:?}");
        if let Err(failure) = claimed {
            assert_eq!((failure.error_type, failure.retryable), (ErrorType::RecordStoreFailed, true));
        }
        assert_eq!(recorder.has_written(), is_sent, "{left} ms left");
    }
}

/// The cases of a further slot of the run lock, which is held under a key of its own.
async fn slots() -> Vec<Cases> {
    let held = json!({"executionId": "e1", "owner": "other", "leaseUntil": FAR});
    let at_work = || json!({"status": "running", "owner": "other"});
    // The first slot is refused, and its holder is alive.
    let recorder = Recorder::reading([Some(at_work())]).refusing(&held);
    recorder.store().take_slot(HOLDER, LEASE, LookBack::of(false), 2).await.expect("a slot");
    let free = recorder.written(1);
    // The second one is refused, too, and its holder has ended.
    let ended = Some(json!({"status": "completed", "owner": "other"}));
    let recorder = Recorder::reading([Some(at_work()), ended]).refusing(&held).refusing(&held);
    recorder.store().take_slot(HOLDER, LEASE, LookBack::of(false), 2).await.expect("a slot");
    let over = recorder.written(2);
    let recorder = Recorder::default();
    recorder.store().keep_run_lock(HOLDER, 1, NOW).await.expect("a slot");
    let keep = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().release_run_lock(HOLDER, 1).await.expect("a slot");
    let release = recorder.written(0);
    // The end of a detached run frees its slot.
    let row = Row {
        status: Status::Running,
        owner: Some("other".to_owned()),
        has_run_lock: Some(true),
        run_slot: Some(1),
        cancel_requested: Some(true),
        ..Row::default()
    };
    let recorder = Recorder::default();
    let state = RunState::default();
    let limits = CloseLimits { until: Instant::now() + Duration::from_secs(60), state: &state };
    close_abandoned(&recorder.store(), LEASE, &fire(), "e2", Some(row), None, limits).await.expect("an end");
    let freed = recorder.written(1);
    for write in [&free, &over, &keep, &release, &freed] {
        let key = match write {
            ConditionalWrite::Put { item, .. } => item["SK"].as_s().expect("a key").clone(),
            ConditionalWrite::Update { key, .. } => key.1.clone(),
        };
        assert_eq!(key, "EXECUTION_SLOT#1#u", "{write:?}");
    }
    vec![
        Cases {
            changed: vec![
                (json!({"leaseUntil": FAR}), false),
                (json!({"executionId": "e2", "owner": "me", "leaseUntil": until(&free)}), true),
                (json!({"executionId": "e2", "owner": "me", "leaseUntil": FAR}), false),
                (json!({"leaseUntil": until(&free) - 30_000}), false),
                (json!({"leaseUntil": until(&free) - 30_000 - 5_001}), true),
            ],
            name: "a further slot",
            write: free,
            satisfying: Some(json!({"executionId": "e1", "owner": "other", "leaseUntil": 0})),
            creates: true,
        },
        refused(
            "a further slot of one that has ended",
            over,
            held,
            &[json!({"executionId": "e3"}), json!({"owner": "me"}), json!({"leaseUntil": FAR + 1})],
        ),
        refused(
            "a further slot is kept",
            keep,
            json!({"owner": "me", "leaseUntil": NOW}),
            &[json!({"owner": "other"}), json!({"leaseUntil": 0}), json!({"leaseUntil": NOW + 1})],
        ),
        refused("a further slot is released", release, json!({"owner": "me"}), &[json!({"owner": "other"})]),
        refused(
            "a further slot is freed by its execution's end",
            freed,
            json!({"executionId": "e2", "owner": "other"}),
            &[json!({"executionId": "e3"})],
        ),
    ]
}

/// Returns the end of the lease that a write asks for.
fn until(write: &ConditionalWrite) -> i64 {
    let ConditionalWrite::Put { item, .. } = write else { panic!("the run lock is put") };
    item["leaseUntil"].as_n().expect("a number").parse().expect("an instant")
}

/// The cases of another moment: an own lease ends when this write's does.
fn retimed(cases: &[(Value, bool)], write: &ConditionalWrite) -> Vec<(Value, bool)> {
    let retime = |(change, is_applied): &(Value, bool)| {
        let mut change = change.clone();
        if change["owner"] == "me" && *is_applied {
            change["leaseUntil"] = json!(until(write));
        }
        (change, *is_applied)
    };
    cases.iter().map(retime).collect()
}

async fn counters() -> Vec<Cases> {
    let count_start = async |policy: Policy, index| {
        let recorder = Recorder::default();
        recorder.store().count_start(EXECUTION, &policy, NOW).await.expect("a count");
        recorder.written(index)
    };
    let runs = Policy { max_runs_per_day: Some(3), ..Policy::default() };
    let both = Policy { max_tokens_per_day: Some(100), ..runs.clone() };
    let started = StartTime { millis: NOW, at: "2023-11-14T22:13:20.000Z".to_owned(), ttl: FAR / 1000 };
    let count_event = async |counter: Option<Value>, index| {
        let recorder = Recorder::reading([counter]);
        let threshold = Threshold { count: 5, window_seconds: 60 };
        recorder.store().count_event(("u", "t"), "m", threshold, NOW, &started).await.expect("a count");
        recorder.written(index)
    };
    let below = |name, write, violating: &[Value]| Cases {
        creates: true,
        ..refused(name, write, json!({"runs": 2}), violating)
    };
    let mut limits =
        below("starts and tokens of a day", count_start(both, 1).await, &[json!({"runs": 3}), json!({"tokens": 100})]);
    limits.changed.push((json!({"tokens": 99}), true));
    let take_back = async |index| {
        let recorder = Recorder::default();
        recorder.store().take_back_start(EXECUTION, NOW).await.expect("a start");
        recorder.written(index)
    };
    let mut mark = first("the mark of a start", count_start(runs.clone(), 0).await);
    mark.changed.push((json!({"takenBack": true}), true));
    let counted =
        refused("the mark of a start that is taken back", take_back(0).await, json!({}), &[json!({"takenBack": true})]);
    vec![
        mark,
        counted,
        refused("a start that is taken back", take_back(1).await, json!({"runs": 2}), &[]),
        below("starts of a day", count_start(runs, 1).await, &[json!({"runs": 3})]),
        limits,
        first("the mark of an event", count_event(None, 0).await),
        Cases {
            creates: true,
            ..refused(
                "the first event",
                count_event(None, 1).await,
                json!({}),
                &[json!({"windowStart": NOW}), json!({"count": 1})],
            )
        },
        refused(
            "another event",
            count_event(Some(json!({"windowStart": NOW - 1, "count": 2})), 1).await,
            json!({"windowStart": NOW - 1, "count": 2}),
            &[json!({"windowStart": NOW}), json!({"count": 3})],
        ),
        refused(
            "an event after a counter that is not understood",
            count_event(Some(json!({"windowStart": "then", "count": 2})), 1).await,
            json!({"windowStart": "then", "count": 2}),
            &[json!({"windowStart": NOW}), json!({"count": 3})],
        ),
    ]
}
