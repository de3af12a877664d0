//! The conditional writes of detached runs.

use agent_trigger::{
    domain::{
        agent_report::{AgentReport, ReportStatus},
        detached::Detachment,
        ending::Ending,
        execution::{Row, Status},
    },
    store::{
        detached::HandOver,
        endings::{EndingWrite, key_of},
    },
};
use serde_json::json;

use crate::{
    Cases, Recorder,
    writes::{EXECUTION, HOLDER, NOW, refused},
};

/// A run that its agent works on.
fn seen() -> Row {
    Row {
        status: Status::Running,
        owner: Some("me".to_owned()),
        attempt: Some(1),
        lease_until: Some(NOW),
        report_key: Some("key".to_owned()),
        detached_at: Some("then".to_owned()),
        ..Row::default()
    }
}

fn report(status: ReportStatus) -> AgentReport {
    AgentReport {
        trigger_id: "t".into(),
        execution_id: "e2".into(),
        status,
        output: None,
        error: None,
        finish_reason: None,
        usage: None,
    }
}

/// The cases of every such write.
pub(crate) async fn all() -> Vec<Cases> {
    let running = json!({"status": "running", "owner": "me", "reportKey": "key"});
    let left = json!({"status": "running", "owner": "me", "attempt": 1, "leaseUntil": NOW, "reportKey": "key",
        "detachedAt": "then"});
    let not_own = [json!({"owner": "other"}), json!({"status": "completed"})];
    let not_reportable = [
        json!({"status": "failed"}),
        json!({"reportKey": "other"}),
        json!({"reportKey": null}),
        json!({"cancelRequested": true}),
    ];

    let recorder = Recorder::default();
    let detachment = Detachment {
        report_key: "key".to_owned(),
        deadline: NOW,
        first_report_seconds: 300,
        accept_finish_reasons: Vec::new(),
    };
    recorder.store().set_detachment(HOLDER, Some(&detachment), 1).await.expect("a write");
    let set = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().set_detachment(HOLDER, None, 1).await.expect("a write");
    let unset = recorder.written(0);

    let recorder = Recorder::default();
    recorder.store().hand_over(HOLDER, HandOver::default(), NOW).await.expect("a write");
    let hand_over = recorder.written(0);
    let recorder = Recorder::default();
    let unheard = HandOver { is_ack_lost: true, ..HandOver::default() };
    recorder.store().hand_over(HOLDER, unheard.clone(), NOW).await.expect("a write");
    let lost = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().hand_over(HOLDER, HandOver { has_reported: true, ..unheard }, NOW).await.expect("a write");
    let heard = recorder.written(0);
    let recorder = Recorder::default();
    let unacknowledged = Row { detached_at: None, first_report_seconds: Some(300), ..seen() };
    recorder.store().hand_over_dead(EXECUTION, &unacknowledged, HandOver::default(), NOW).await.expect("a write");
    let dead = recorder.written(0);

    let recorder = Recorder::default();
    let heartbeat = report(ReportStatus::Running);
    recorder.store().note_report(EXECUTION, &seen(), &heartbeat, Some(NOW), NOW).await.expect("a write");
    let note = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().note_report(EXECUTION, &seen(), &heartbeat, None, NOW).await.expect("a write");
    let early = recorder.written(0);
    let ended = Row { status: Status::Completed, ..seen() };
    let recorder = Recorder::default();
    recorder.store().keep_late_report(EXECUTION, &ended, &report(ReportStatus::Failed)).await.expect("a write");
    let late = recorder.written(0);
    let recorder = Recorder::default();
    recorder.store().ask_to_cancel("t", "e2").await.expect("a write");
    let asked = recorder.written(0);

    let (row, ending) = (seen(), Ending::new(Status::Completed, NOW, None));
    let reported = EndingWrite::Reported { seen: &row, ending: &ending }.build(key_of(EXECUTION), true);
    let cancelled = Ending::new(Status::Cancelled, NOW, None);
    let abandoned = EndingWrite::Abandoned { seen: &row, ending: &cancelled }.build(key_of(EXECUTION), true);

    let with = |more: serde_json::Value| {
        let mut row = running.clone();
        row.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        row
    };
    let mut handed = not_own.to_vec();
    handed.push(json!({"detachedAt": "then"}));
    let mut unheard_of = handed.clone();
    unheard_of.push(json!({"firstReportSeconds": null}));
    let mut early_on = not_reportable.to_vec();
    early_on.push(json!({"detachedAt": "then"}));
    let mut noted = not_reportable.to_vec();
    noted.push(json!({"leaseUntil": NOW + 1}));
    let mut heartbeat_with_lease = refused("a heartbeat that was reported", note, left.clone(), &noted);
    heartbeat_with_lease.changed.push((json!({"leaseUntil": null}), true));
    let mut asked_of = refused("Cancel Execution", asked, with(json!({})), &[json!({"status": "completed"})]);
    asked_of.changed.push((json!({"status": "failed", "retryable": true}), true));
    vec![
        refused("a detached run that the claim did not know", set, running.clone(), &not_own),
        refused("no detached run after all", unset, running.clone(), &not_own),
        refused("the hand-over", hand_over, running.clone(), &handed),
        refused("the hand-over of an agent that has reported", heard, running.clone(), &handed),
        refused(
            "the hand-over of an agent that is not heard",
            lost,
            with(json!({"firstReportSeconds": 300})),
            &unheard_of,
        ),
        refused(
            "the hand-over of the dead",
            dead,
            with(json!({"attempt": 1, "leaseUntil": NOW, "firstReportSeconds": 300})),
            &[
                json!({"firstReportSeconds": null}),
                json!({"owner": "other"}),
                json!({"attempt": 2}),
                json!({"detachedAt": "then"}),
                json!({"leaseUntil": NOW + 1}),
                json!({"cancelRequested": true}),
                json!({"status": "completed"}),
            ],
        ),
        heartbeat_with_lease,
        refused("a heartbeat before the hand-over", early, running.clone(), &early_on),
        refused("an end that was reported", reported, left.clone(), &not_reportable),
        refused(
            "an end for a silent agent",
            abandoned,
            left,
            &[
                json!({"owner": "other"}),
                json!({"attempt": 2}),
                json!({"cancelRequested": true}),
                json!({"detachedAt": null}),
                json!({"leaseUntil": NOW + 1}),
                json!({"status": "completed"}),
            ],
        ),
        refused(
            "a report that came too late",
            late,
            json!({"status": "completed", "reportKey": "key"}),
            &[json!({"lateReport": "failed"}), json!({"status": "failed"}), json!({"reportKey": "other"})],
        ),
        asked_of,
    ]
}
