//! Tests of the test: with any one rule taken out the same schedules break a promise.

use crate::{Counts, SCHEDULES, SEED, print, promises::Promise, rules::Rule, search, shrink};

fn assert_found(without: Rule, promise: Promise) {
    let found = search(SEED, SCHEDULES, Some(without), &mut Counts::new()).expect("a schedule that breaks a promise");
    print(&format!("without {without:?} schedule {} breaks {:?}: {}\n", found.after, found.promise, found.detail));
    assert_eq!(found.promise, promise, "seed {}: {}", found.seed, found.detail);
}

#[test]
fn without_the_owner_condition_a_zombie_writes() {
    assert_found(Rule::Owner, Promise::NoZombieWrites);
}

#[test]
fn without_waiting_for_the_lease_the_living_are_taken_over() {
    assert_found(Rule::Lease, Promise::NoTakeoverOfTheLiving);
}

#[test]
fn without_waiting_for_the_skew_the_living_are_taken_over() {
    assert_found(Rule::Skew, Promise::NoTakeoverOfTheLiving);
}

#[test]
fn without_lease_until_as_seen_a_late_heartbeat_does_not_save_its_attempt() {
    assert_found(Rule::LeaseUntilAsSeen, Promise::NoTakeoverOfTheLiving);
}

#[test]
fn without_the_terminal_condition_a_terminal_record_changes() {
    assert_found(Rule::Terminal, Promise::TerminalStays);
}

#[test]
fn without_half_a_lease_before_a_post_it_arrives_when_the_execution_is_anothers() {
    assert_found(Rule::HalfALease, Promise::OnlyTheHolderCalls);
}

#[test]
fn without_another_look_after_renewing_a_frozen_attempt_calls_without_a_lease() {
    assert_found(Rule::HalfALeaseAfterRenewing, Promise::OnlyTheHolderCalls);
}

#[test]
fn without_retryable_as_seen_a_settled_failure_runs_again() {
    assert_found(Rule::RetryableAsSeen, Promise::TerminalStays);
}

#[test]
fn without_a_lease_that_only_grows_a_late_heartbeat_lets_two_work_at_once() {
    assert_found(Rule::LeaseOnlyGrows, Promise::NeverTwoAtWork);
}

#[test]
fn without_stopping_at_the_end_of_the_lease_two_work_at_once() {
    assert_found(Rule::StopAtTheEnd, Promise::NeverTwoAtWork);
}

#[test]
fn without_comparing_the_failure_lambda_is_told_another_than_the_record() {
    assert_found(Rule::OwnFailure, Promise::LambdaIsToldTheTruth);
}

#[test]
fn without_a_final_third_failure_what_was_replayed_is_cancelled_afterwards() {
    assert_found(Rule::ThirdIsFinal, Promise::LambdaIsToldTheTruth);
}

#[test]
fn with_retryable_failures_after_acceptance_the_agent_is_called_twice() {
    let found = search(SEED, SCHEDULES, Some(Rule::FinalOnceCalled), &mut Counts::new()).expect("a violation");
    assert!(matches!(found.promise, Promise::OneAcceptedCall | Promise::OnlyTheHolderCalls), "{}", found.detail);
}

#[test]
fn a_violation_is_shrunk_to_a_short_story() {
    let without = Some(Rule::RetryableAsSeen);
    let found = search(SEED, SCHEDULES, without, &mut Counts::new()).expect("a violation");
    let story = shrink::shortest(found.seed, without, found.promise);
    assert!(story.troubles.len() < 6 && story.trace.len() < 40, "{:?}\n{}", story.troubles, story.trace.join("\n"));
    print(&format!(
        "without RetryableAsSeen, with {:?}, seed {}:\n{}\n",
        story.troubles,
        story.seed,
        story.trace.join("\n")
    ));
}
