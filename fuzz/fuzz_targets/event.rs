//! Checks that any payload is a fire, a bus event, or one error whose every problem begins with a path, and never a
//! panic. An accepted payload can be stored and sent: ids fit a key, a session id fits a header.

#![no_main]

use agent_trigger::{
    domain::{
        fire::{Identity, Origin, execution_id},
        platform::Platform,
    },
    events::schedule::{self, Event},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let payload = std::str::from_utf8(input).ok();
    for platform in [Platform::Other, Platform::AgentCore] {
        match schedule::parse(payload, platform) {
            Ok(Event::Bus(event)) => {
                let id = &event.event_source_id;
                assert!((1..=256).contains(&id.len()) && !id.contains(char::is_control));
            }
            Ok(Event::Scheduled(fire)) => {
                for id in [fire.trigger_id.as_str(), fire.user_id.as_str(), fire.task.agent_id.as_str()] {
                    assert!((1..=256).contains(&id.len()) && !id.contains(char::is_control));
                }
                assert!(fire.task.session_id.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
                if let Origin::Schedule { instant, .. } = &fire.origin {
                    execution_id(&fire.trigger_id, Identity::Scheduled(*instant));
                }
            }
            Err(error) => assert!(!error.problems.is_empty() && error.problems.iter().all(|text| text.starts_with('$'))),
        }
    }
});
