//! Checks the relay through which the local run watches agents.

use standins::relay::Relayed;
use standins::{Relay, Script, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends requests on one connection and returns all bytes that came back.
async fn talk(relay: &Relay, agent: &standins::Agent, scripts: Vec<Script>) -> (String, Vec<Relayed>) {
    let count = scripts.len();
    for script in scripts {
        agent.queue(script);
    }
    let mut socket = TcpStream::connect(relay.addr()).await.unwrap();
    let mut received = String::new();
    for number in 0..count {
        let request = format!(
            "POST /invocations HTTP/1.1\r\nhost: agent\r\nX-Amzn-Bedrock-AgentCore-Runtime-Session-Id: session-{number}\r\n\
             content-length: 2\r\n\r\n{{}}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        // The next request is sent once the answer has ended.
        let mut buffer = vec![0; 4096];
        while relay.answers().len() <= number || relay.answers()[number].is_whole.is_none() {
            let read = socket.read(&mut buffer).await.unwrap();
            received.push_str(&String::from_utf8_lossy(&buffer[..read]));
            if read == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    (received, relay.answers())
}

async fn agent_and_relay() -> (standins::Agent, Relay) {
    let agent = standins::Agent::start().await;
    let addr = agent.url().trim_start_matches("http://").parse().unwrap();
    let relay = Relay::start(addr).await.unwrap();
    (agent, relay)
}

#[tokio::test]
async fn answers_on_one_connection_are_told_apart() {
    let (agent, relay) = agent_and_relay().await;
    let chunked = Script::ok("text/event-stream", [Step::text("data: \"a\"\n\n"), Step::text("data: \"b\"\n\n")]);
    let (received, answers) =
        talk(&relay, &agent, vec![chunked, Script::status(422, "no"), Script::status(200, "")]).await;
    assert!(received.contains("text/event-stream"), "{received}");
    let seen: Vec<_> = answers.iter().map(|a| (a.status, &a.body[..], a.is_whole)).collect();
    let expected: [(u16, &[u8], _); 3] =
        [(200, b"data: \"a\"\n\ndata: \"b\"\n\n", Some(true)), (422, b"no", Some(true)), (200, b"", Some(true))];
    assert_eq!(seen, expected);
    for (number, answer) in answers.iter().enumerate() {
        let is_of: Vec<_> = (0..3).filter(|number| answer.is_of(&format!("session-{number}"))).collect();
        assert_eq!(is_of, [number]);
    }
    assert!(!answers[0].is_of(""));
    // A run in a chain gets the answer of the one before it, which names that one's session.
    let own = |body: &str| Relayed { request: body.as_bytes().to_vec(), ..Relayed::default() };
    let [by_header, by_member] = [
        own(
            "POST / HTTP/1.1\r\nX-Amzn-Bedrock-AgentCore-Runtime-Session-Id: s-2\r\n\r\n{\"prompt\":\"{\\\"sessionId\\\":\\\"s-1\\\"}\"}",
        ),
        own("POST / HTTP/1.1\r\n\r\n{\"threadId\":\"s-2\",\"messages\":[\"{\\\"sessionId\\\":\\\"s-1\\\"}\"]}"),
    ];
    for answer in [by_header, by_member] {
        assert!(answer.is_of("s-2") && !answer.is_of("s-1"), "{:?}", String::from_utf8_lossy(&answer.request));
    }
    assert_eq!(answers[0].content_type.as_deref(), Some("text/event-stream"));
}

#[tokio::test]
async fn a_torn_answer_is_torn_behind_the_relay_too() {
    for end in [Step::Fin, Step::Rst] {
        let (agent, relay) = agent_and_relay().await;
        let script = Script::ok("application/x-ndjson", [Step::text("{}\n"), end]);
        let (received, answers) = talk(&relay, &agent, vec![script]).await;
        assert!(!received.ends_with("0\r\n\r\n"), "{received}");
        assert_eq!(answers[0].is_whole, Some(false));
    }
}

#[tokio::test]
async fn a_relay_to_nobody_does_not_start() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(Relay::start(free).await.is_err());
}
