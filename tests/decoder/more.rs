//! Answers written after what running SDKs send, and answers that were found to be read wrong: one line each.

use agent_trigger::domain::answer::{End, Verdict};

use crate::answers::cases_in;

#[test]
fn every_further_answer_is_recorded_as_what_it_says() {
    let mut wrong = Vec::new();
    for case in cases_in("answers-more") {
        match case.decode(std::iter::once(&case.body[..])) {
            Some(outcome) => wrong.extend(case.differences(&outcome)),
            None => wrong.push(format!("{}: its status decides", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn further_answers_may_come_byte_by_byte_or_in_two() {
    for case in cases_in("answers-more") {
        let whole = case.decode(std::iter::once(&case.body[..]));
        assert_eq!(case.decode(case.body.chunks(1)), whole, "{}", case.name);
        for at in (0..=case.body.len()).step_by(13) {
            let (first, second) = case.body.split_at(at);
            assert_eq!(case.decode([first, second].into_iter()), whole, "{} split at {at}", case.name);
        }
    }
}

/// What fails or stops short as a whole completes nowhere when it is torn.
#[test]
fn no_further_answer_completes_when_it_is_torn() {
    for case in cases_in("answers-more") {
        let whole = case.decode_to(std::iter::once(&case.body[..]), End::Framed);
        if whole.is_none_or(|outcome| outcome.verdict == Verdict::Completed) {
            continue;
        }
        for at in 0..case.body.len() {
            let torn = case.decode_to(std::iter::once(&case.body[..at]), End::Torn).expect("an outcome");
            assert_ne!(torn.verdict, Verdict::Completed, "{} at {at}", case.name);
        }
    }
}
