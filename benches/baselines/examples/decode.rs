//! What decoding small events costs in this process, beside what `serde_json` needs to skip them: the floor of any reader
//! of JSON. Each event is decoded packed into chunks of 64 KiB, and alone in its chunk.
//!
//! `cargo run --release -p agent-trigger-baselines --example decode [-- NAME]`

#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{End, Verdict};
use serde::de::IgnoredAny;

#[path = "../../streams/mod.rs"]
mod streams;

/// Events of a round, far more than whose text is kept.
const EVENTS: usize = 30_000;
const ROUNDS: usize = 15;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("{:28} {:>6} {:>9} {:>9} {:>6} {:>9}", "ns for an event", "bytes", "packed", "skipping", "ratio", "alone");
    for stream in streams::all().iter().filter(|stream| stream.name.contains(&only)) {
        let deltas = stream.delta.repeat(EVENTS);
        let body = [stream.begin.as_bytes(), deltas.as_bytes(), stream.end.as_bytes()].concat();
        let decode = |chunks: &mut dyn Iterator<Item = &[u8]>| {
            let mut decoder = Decoder::new(Some(stream.content_type)).expect("an agent's content type");
            for chunk in chunks {
                decoder.feed(chunk);
            }
            assert_eq!(decoder.finish(End::Framed).verdict, Verdict::Completed, "{}", stream.name);
        };
        let packed = fastest(|| decode(&mut body.chunks(64 * 1024)));
        let ends = [stream.begin.as_bytes(), stream.end.as_bytes()];
        let alone = fastest(|| {
            let middle = std::iter::repeat_n(stream.delta.as_bytes(), EVENTS);
            decode(&mut std::iter::once(ends[0]).chain(middle).chain([ends[1]]));
        });
        let data = stream.delta.find("data: ").map_or(0, |at| at + "data: ".len());
        let json = stream.delta[data..].trim().as_bytes();
        let skipping = fastest(|| {
            for _ in 0..EVENTS {
                let event = serde_json::from_slice::<IgnoredAny>(black_box(json));
                black_box(event.expect("JSON"));
            }
        });
        let each = |time: Duration| time.as_nanos() as f64 / EVENTS as f64;
        println!(
            "{:28} {:>6} {:>9.0} {:>9.0} {:>6.2} {:>9.0}",
            stream.name,
            stream.delta.len(),
            each(packed),
            each(skipping),
            each(packed) / each(skipping),
            each(alone),
        );
    }
}

/// The time of the fastest of some rounds: the others were disturbed.
fn fastest(mut round: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let since = Instant::now();
        round();
        since.elapsed()
    });
    times.min().unwrap_or_default()
}
