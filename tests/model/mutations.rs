//! Tests of the test: with any one rule taken out the same schedules break a promise. Each rule is taken out at the ports
//! (`rules`), so that what breaks is the function's own code without it.

use crate::{
    Counts, DETACHED_SCHEDULES, DETACHED_SLOT_SCHEDULES, SCHEDULES, SEED, SLOT_SCHEDULES,
    detached::DETACHED,
    print,
    promises::Promise,
    rules::Rule,
    schedule::{
        SLOTS,
        Trouble::{self, Overlap},
        has_edits, has_several_fires,
    },
    search, seeds, shrink,
};

/// Runs with a single fire: with several at once, other promises break before.
fn assert_found(without: Rule, promise: Promise) {
    assert_found_with(seeds(SEED, SCHEDULES), &of_one_fire(), without, promise);
}

fn of_one_fire() -> Vec<Trouble> {
    Trouble::ALL.into_iter().filter(|trouble| *trouble != Overlap).collect()
}

fn assert_found_among_fires(without: Rule, promise: Promise) {
    // A fourth of the schedules have several fires. Some of what is looked for among them is rare.
    let seeds = seeds(SEED, 4 * SCHEDULES).filter(|seed| has_several_fires(*seed));
    assert_found_with(seeds, &Trouble::ALL, without, promise);
}

fn assert_found_with(seeds: impl Iterator<Item = u64>, troubles: &[Trouble], without: Rule, promise: Promise) {
    let breaks = |found: Promise| found == promise;
    let found = search(seeds, Some(without), troubles, breaks, &mut Counts::new());
    let found = found.expect("a schedule that breaks the promise");
    print(&format!("without {without:?} schedule {} breaks {:?}: {}\n", found.after, found.promise, found.detail));
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
fn without_a_final_third_failure_it_stays_retryable() {
    assert_found(Rule::ThirdIsFinal, Promise::TheThirdIsFinal);
}

#[test]
fn with_retryable_failures_after_acceptance_the_agent_is_called_twice() {
    let found =
        search(seeds(SEED, SCHEDULES), Some(Rule::FinalOnceCalled), &of_one_fire(), |_| true, &mut Counts::new())
            .expect("a violation");
    assert!(matches!(found.promise, Promise::OneAcceptedCall | Promise::OnlyTheHolderCalls), "{}", found.detail);
}

#[test]
fn without_keeping_the_turn_two_fires_work_at_once() {
    assert_found_among_fires(Rule::TurnIsKept, Promise::NeverTooManyAtWork);
}

#[test]
fn without_waiting_for_the_lease_of_the_turn_two_fires_work_at_once() {
    assert_found_among_fires(Rule::TurnLease, Promise::NeverTooManyAtWork);
}

#[test]
fn without_waiting_for_the_skew_of_the_turn_two_fires_work_at_once() {
    assert_found_among_fires(Rule::TurnSkew, Promise::NeverTooManyAtWork);
}

#[test]
fn without_a_turn_that_lapses_the_dead_keep_others_from_running() {
    assert_found_among_fires(Rule::TurnLapses, Promise::NoTurnOfTheDead);
}

#[test]
fn without_the_owner_of_a_turn_it_is_given_up_for_another() {
    assert_found_among_fires(Rule::TurnOwner, Promise::NeverTooManyAtWork);
}

#[test]
fn without_a_turn_that_only_grows_a_late_heartbeat_lets_two_fires_work_at_once() {
    assert_found_among_fires(Rule::TurnOnlyGrows, Promise::NeverTooManyAtWork);
}

#[test]
fn without_the_turn_as_seen_two_take_it_from_one_that_ended() {
    assert_found_among_fires(Rule::TurnAsSeen, Promise::NeverTooManyAtWork);
}

#[test]
fn without_looking_anew_an_attempt_stops_for_its_own_run_lock() {
    assert_found_among_fires(Rule::LookAnew, Promise::LostIsTrue);
}

#[test]
fn without_a_look_at_its_execution_a_turn_outlives_it() {
    assert_found_among_fires(Rule::EndedTurnIsFree, Promise::SkippedForTheLiving);
}

#[test]
fn without_stopping_with_the_turn_two_fires_work_at_once() {
    assert_found_among_fires(Rule::StopWithTheTurn, Promise::NeverTooManyAtWork);
}

#[test]
fn without_a_look_at_the_ids_a_newer_fire_is_cancelled() {
    assert_found_among_fires(Rule::NewerStays, Promise::TheNewerStay);
}

#[test]
fn without_yielding_who_has_waited_runs_after_a_newer_fire() {
    assert_found_among_fires(Rule::WaitersYield, Promise::WaitersYield);
}

#[test]
fn without_cancel_requested_as_seen_what_was_to_be_cancelled_runs_again() {
    assert_found(Rule::CancelRequestedAsSeen, Promise::CancelledStaysCancelled);
}

#[test]
fn without_a_final_third_claim_what_is_taken_back_stays_retryable() {
    assert_found(Rule::TakenBackIsFinal, Promise::TheThirdIsFinal);
}

#[test]
fn without_the_end_of_a_released_run_lock_a_late_heartbeat_takes_it_back() {
    assert_found_among_fires(Rule::ReleasedStaysReleased, Promise::ReleasedStaysReleased);
}

#[test]
fn without_a_kept_run_lock_that_only_grows_two_fires_work_at_once() {
    assert_found_among_fires(Rule::KeptLockOnlyGrows, Promise::NeverTooManyAtWork);
}

#[test]
fn with_a_lease_that_was_extended_while_the_run_lock_was_taken_it_outlasts_the_lock() {
    assert_found_among_fires(Rule::LockTakenMeanwhile, Promise::LockOutlastsTheLease);
}

#[test]
fn with_a_refused_event_that_does_not_look_at_its_row_it_stays_running() {
    assert_found(Rule::DetoursLook, Promise::EndsTerminal);
}

#[test]
fn without_the_tokens_of_the_dead_a_rerun_loses_them() {
    assert_found(Rule::TokensAreKept, Promise::TokensStay);
}

#[test]
fn without_asking_for_its_absence_an_input_is_overwritten() {
    assert_found(Rule::InputIfAbsent, Promise::InputStays);
}

#[test]
fn without_stopping_the_session_first_the_agent_works_for_two_fires() {
    assert_found_among_fires(Rule::StopBeforeTheTurn, Promise::SessionsEndFirst);
}

#[test]
fn with_retryable_ends_by_sigterm_after_acceptance_the_agent_is_called_twice() {
    assert_found(Rule::TerminatedIsFinalOnceCalled, Promise::OneAcceptedCall);
}

#[test]
fn without_remembering_what_runs_in_place_a_lagging_index_leaves_it_running() {
    assert_found(Rule::InPlaceIsRemembered, Promise::EndsTerminal);
}

#[test]
fn without_the_rerun_of_the_claim_an_edit_lets_two_work_at_once() {
    let seeds = seeds(SEED, SCHEDULES).filter(|seed| has_edits(*seed));
    assert_found_with(seeds, &of_one_fire(), Rule::RerunAsClaimed, Promise::OneAcceptedCall);
}

/// Runs with detached runs.
fn assert_found_detached(without: Rule, promises: &[Promise]) {
    assert_found_among_detached(without, promises, seeds(SEED | DETACHED, DETACHED_SCHEDULES), &of_one_fire());
}

fn assert_found_among_detached(
    without: Rule,
    promises: &[Promise],
    seeds: impl Iterator<Item = u64>,
    troubles: &[Trouble],
) {
    let breaks = |found: Promise| promises.contains(&found);
    let found = search(seeds, Some(without), troubles, breaks, &mut Counts::new());
    let found = found.expect("a schedule that breaks the promise");
    print(&format!("without {without:?} schedule {} breaks {:?}: {}\n", found.after, found.promise, found.detail));
}

#[test]
fn without_comparing_the_token_a_stranger_ends_a_run() {
    assert_found_detached(Rule::KeyIsChecked, &[Promise::NoForgery]);
}

#[test]
fn without_the_deadline_an_agent_that_beats_for_ever_never_ends() {
    assert_found_detached(Rule::DeadlineEnds, &[Promise::Ends, Promise::EndsByTheDeadline]);
}

#[test]
fn without_a_look_before_the_call_a_silent_agents_run_stays_running() {
    assert_found_detached(Rule::LookIsSent, &[Promise::EndsTerminal]);
}

#[test]
fn without_the_next_look_a_silent_agents_run_stays_running() {
    assert_found_detached(Rule::LookIsSentAgain, &[Promise::EndsTerminal]);
}

#[test]
fn without_the_condition_of_the_hand_over_it_changes_an_end_that_came_before() {
    assert_found_detached(Rule::HandOverIsConditional, &[Promise::TerminalStays, Promise::NoZombieWrites]);
}

/// Runs with triggers of which so many fires may run at once.
fn assert_found_among_slots(without: Rule, promise: Promise) {
    assert_found_with(seeds(SEED | SLOTS, 2 * SLOT_SCHEDULES), &Trouble::ALL, without, promise);
}

#[test]
fn without_the_owner_of_a_slot_a_late_release_lets_one_too_many_run() {
    assert_found_among_slots(Rule::TurnOwner, Promise::NeverTooManyAtWork);
}

#[test]
fn without_freeing_its_own_slot_alone_one_too_many_runs() {
    assert_found_among_slots(Rule::OwnSlotIsFreed, Promise::NeverTooManyAtWork);
}

#[test]
fn without_the_slot_as_seen_two_take_it_from_one_that_ended() {
    assert_found_among_slots(Rule::TurnAsSeen, Promise::NeverTooManyAtWork);
}

#[test]
fn without_waiting_for_the_lease_of_a_slot_one_too_many_runs() {
    assert_found_among_slots(Rule::TurnLease, Promise::NeverTooManyAtWork);
}

#[test]
fn without_waiting_for_the_skew_of_a_slot_one_too_many_runs() {
    assert_found_among_slots(Rule::TurnSkew, Promise::NeverTooManyAtWork);
}

#[test]
fn without_keeping_a_slot_one_too_many_runs() {
    assert_found_among_slots(Rule::TurnIsKept, Promise::NeverTooManyAtWork);
}

#[test]
fn without_stopping_with_the_slot_one_too_many_runs() {
    assert_found_among_slots(Rule::StopWithTheTurn, Promise::NeverTooManyAtWork);
}

#[test]
fn without_a_look_at_its_execution_a_slot_outlives_it() {
    assert_found_among_slots(Rule::EndedTurnIsFree, Promise::SkippedForTheLiving);
}

#[test]
fn without_the_end_of_a_released_slot_a_late_heartbeat_takes_it_back() {
    assert_found_among_slots(Rule::ReleasedStaysReleased, Promise::ReleasedStaysReleased);
}

#[test]
fn without_a_look_at_the_further_slots_a_lowered_number_is_exceeded() {
    assert_found_among_slots(Rule::LoweredCounts, Promise::LoweredCounts);
}

#[test]
fn without_a_run_lock_until_the_deadline_the_agent_works_for_two_fires() {
    let seeds = seeds(SEED | DETACHED, DETACHED_SCHEDULES).filter(|seed| has_several_fires(*seed));
    let promises = [Promise::DetachedKeepTheirTurn];
    assert_found_among_detached(Rule::LockUntilTheDeadline, &promises, seeds, &Trouble::ALL);
}

#[test]
fn without_a_run_lock_beyond_the_deadline_the_agent_works_for_two_fires() {
    let seeds = seeds(SEED | DETACHED, DETACHED_SCHEDULES).filter(|seed| has_several_fires(*seed));
    let promises = [Promise::DetachedKeepTheirTurn];
    assert_found_among_detached(Rule::LockAfterTheDeadline, &promises, seeds, &Trouble::ALL);
}

#[test]
fn without_the_deadline_of_the_call_an_agent_begins_when_its_time_is_over() {
    assert_found_detached(Rule::CalledInTime, &[Promise::CalledInTime]);
}

#[test]
fn without_counting_an_early_report_an_agent_that_has_promised_nothing_is_overdue() {
    assert_found_detached(Rule::EarlyReportCounts, &[Promise::OverdueIsTrue]);
}

/// Runs with detached runs of triggers with slots.
fn assert_found_among_detached_slots(without: Rule, promises: &[Promise]) {
    let seeds = seeds(SEED | DETACHED | SLOTS, DETACHED_SLOT_SCHEDULES);
    assert_found_among_detached(without, promises, seeds, &Trouble::ALL);
}

#[test]
fn without_a_slot_until_the_deadline_the_agent_works_for_one_too_many() {
    assert_found_among_detached_slots(Rule::LockUntilTheDeadline, &[Promise::DetachedKeepTheirTurn]);
}

#[test]
fn without_freeing_the_slot_of_its_own_run_an_end_lets_one_too_many_run() {
    let promises = [Promise::DetachedKeepTheirTurn, Promise::NeverTooManyAtWork];
    assert_found_among_detached_slots(Rule::OwnSlotIsFreed, &promises);
}

#[test]
fn a_violation_is_shrunk_to_a_short_story() {
    let without = Some(Rule::RetryableAsSeen);
    let found =
        search(seeds(SEED, SCHEDULES), without, &of_one_fire(), |_| true, &mut Counts::new()).expect("a violation");
    let story = shrink::shortest(found.seed, without, &of_one_fire(), found.promise);
    let is_short = story.troubles.len() * 2 < Trouble::ALL.len() && story.trace.len() < 40;
    assert!(is_short, "{:?}\n{}", story.troubles, story.trace.join("\n"));
    print(&format!(
        "without RetryableAsSeen, with {:?}, seed {}:\n{}\n",
        story.troubles,
        story.seed,
        story.trace.join("\n")
    ));
}
