//! A schedule that was created here fires at the instants that were predicted, with the event that the run function reads.

use std::sync::Arc;
use std::time::Duration;

use agent_trigger::domain::platform::Platform;
use agent_trigger::events::schedule::{Event, parse};
use jiff::Timestamp;
use serde_json::json;

use crate::next_run::next_run;
use crate::support::{LIMIT, USER, World, id, scheduled};

#[tokio::test]
async fn a_schedule_fires_when_it_was_predicted() {
    let mut world = World::start().await;
    world.scheduler.run(world.stack.lambda.clone(), Arc::new(next_run));
    let api = world.port().await;
    // The next whole second but one, in a zone that is not UTC.
    let due = Timestamp::from_second(Timestamp::now().as_second() + 2).unwrap();
    let there = due.to_zoned(jiff::tz::TimeZone::get("Asia/Kolkata").unwrap());
    let mut request = scheduled();
    let expression = there.strftime("at(%Y-%m-%dT%H:%M:%S)").to_string();
    request["scheduleConfig"] = json!({"expression": expression, "timezone": "Asia/Kolkata"});
    let trigger = api.create(request).await;
    assert_eq!(trigger["nextRun"], due.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string());
    let end = tokio::time::Instant::now() + LIMIT;
    while world.stack.lambda.accepted() == 0 {
        assert!(tokio::time::Instant::now() < end, "it never fired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let payload = String::from_utf8(world.stack.lambda.invocations()[0].payload.clone()).unwrap();
    let Ok(Event::Scheduled(fire)) = parse(Some(&payload), Platform::AgentCore) else { panic!("{payload}") };
    assert_eq!((fire.trigger_id.as_str(), fire.user_id.as_str(), fire.is_stored), (id(&trigger), USER, true));
    assert!(payload.contains(&due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()), "{payload}");
    // It deletes itself, and is shown as done.
    while world.schedule(id(&trigger)).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let shown = api.get(&format!("/triggers/{}", id(&trigger))).await.expect(200)["trigger"].clone();
    assert_eq!((&shown["scheduleStatus"], shown.get("nextRun")), (&json!("done"), None));
    assert_eq!(world.stack.lambda.accepted(), 1, "it fires once");
}

#[tokio::test]
async fn a_rate_fires_by_the_clock_and_counts_from_its_write() {
    let mut world = World::start().await;
    world.scheduler.run(world.stack.lambda.clone(), Arc::new(next_run));
    let api = world.port().await;
    let mut request = scheduled();
    request["scheduleConfig"] = json!({"expression": "rate(1 minute)"});
    let trigger = api.create(request).await;
    // It fires a minute after its write, so one that was written 58 seconds ago does so soon.
    let name = format!("trigger-{}", id(&trigger));
    world.scheduler.age(&name, Duration::from_secs(58));
    let saved = world.scheduler.schedule(&name).unwrap()["SavedAt"].as_i64().unwrap();
    let end = tokio::time::Instant::now() + LIMIT;
    while world.stack.lambda.accepted() == 0 {
        assert!(tokio::time::Instant::now() < end, "it never fired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let payload = String::from_utf8(world.stack.lambda.invocations()[0].payload.clone()).unwrap();
    let due = Timestamp::from_millisecond(saved + 60_000).unwrap();
    assert!(payload.contains(&due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()), "{payload}, not {due}");
}
