//! Signatures as the senders' documents give them, the oracle of Standard Webhooks, and properties: whatever bit is changed,
//! the request is refused.

use agent_trigger::config::Secret;
use agent_trigger_api::hooks::{
    scheme::Scheme,
    signature::{Distrust, Trusted, sign, verify},
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

fn scheme(config: Value) -> Scheme {
    Scheme::read(config.as_object().unwrap(), &mut Vec::new()).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

/// A request of a document: the preset, the secret, the time, the headers and the body.
type Vector = (&'static str, &'static str, i64, Vec<(&'static str, &'static str)>, &'static str);

fn vectors() -> Vec<Vector> {
    vec![
        // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        (
            "standard",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            1_614_265_330,
            vec![
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ],
            r#"{"test": 2432232314}"#,
        ),
        // Under Svix's names, beside a signature by another key: https://docs.svix.com/receiving/verifying-payloads/how-manual
        (
            "standard",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            1_614_265_330,
            vec![
                ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("svix-timestamp", "1614265330"),
                (
                    "svix-signature",
                    "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1a,xxx v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                ),
            ],
            r#"{"test": 2432232314}"#,
        ),
        // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
        (
            "github",
            "It's a Secret to Everybody",
            0,
            vec![("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
            "Hello, World!",
        ),
        // https://docs.slack.dev/authentication/verifying-requests-from-slack
        (
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            1_531_420_618,
            vec![
                ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
                ("X-Slack-Request-Timestamp", "1531420618"),
            ],
            SLACK_BODY,
        ),
        // https://docs.stripe.com/webhooks/signature has the header's form and no request to it. The first `v1` and the
        // `v0` are those of the document, the second `v1` was computed with Python's hmac.
        (
            "stripe",
            "whsec_test_secret",
            1_492_774_577,
            vec![(
                "Stripe-Signature",
                "t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,v1=22f7d74836ddad3284a2b80853dd2fe731655c1bfddcff3c3666a500cf3abd80,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39",
            )],
            r#"{"id":"evt_test"}"#,
        ),
    ]
}

#[test]
fn the_documents_own_signatures_are_accepted() {
    for (preset, secret, at, pairs, body) in vectors() {
        let scheme = scheme(json!({"preset": preset}));
        let right = [Secret::new(secret)];
        let verify =
            |now: i64, secrets: &[Secret], body: &str| verify(&scheme, &headers(&pairs), body.as_bytes(), secrets, now);
        let trusted = verify(at, &right, body).unwrap_or_else(|distrust| panic!("{preset}: {distrust:?}"));
        assert_eq!(trusted.signed_id.is_some(), preset == "standard");
        assert_eq!(verify(at, &right, &format!("{body} ")), Err(Distrust::WrongSignature), "{preset}");
        assert_eq!(verify(at, &[], body), Err(Distrust::WrongSignature), "{preset}");
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        assert_eq!(verify(at, &[Secret::new(other)], body), Err(Distrust::WrongSignature), "{preset}");
        assert!(verify(at, &[Secret::new(other), Secret::new(secret)], body).is_ok(), "{preset}");
        if preset == "github" {
            continue;
        }
        for (away, is_fresh) in [(300, true), (-300, true), (301, false), (-301, false)] {
            let result = verify(at + away, &right, body);
            assert_eq!(result.is_ok(), is_fresh, "{preset} {away}");
            assert!(is_fresh || result == Err(Distrust::StaleTimestamp), "{preset} {away}");
        }
    }
}

/// Base64 is strict: neither other bits at the end, nor missing padding, nor another alphabet.
#[test]
fn a_signature_has_one_notation() {
    let (_, secret, at, pairs, body) = vectors().swap_remove(0);
    let check = |signature: &str| {
        let mut pairs = pairs.clone();
        pairs[2].1 = signature.to_owned().leak();
        verify(&Scheme::Standard, &headers(&pairs), body.as_bytes(), &[Secret::new(secret)], at).is_ok()
    };
    assert!(check("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    for wrong in [
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",
        "v1,g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE==",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=,",
        "v1, g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,",
        "",
    ] {
        assert!(!check(wrong), "{wrong}");
    }
}

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_700_000_000;

fn schemes() -> Vec<Scheme> {
    [
        json!({"preset": "standard"}),
        json!({"preset": "github"}),
        json!({"preset": "slack"}),
        json!({"preset": "stripe"}),
        json!({"preset": "hmac", "algorithm": "sha512", "encoding": "base64", "prefix": "sig="}),
        json!({"preset": "hmac", "timestampHeader": "x-time", "signedContent": "{timestamp}.{body}.end"}),
    ]
    .map(scheme)
    .into()
}

fn check(scheme: &Scheme, headers: &HeaderMap, body: &[u8]) -> Result<Trusted, Distrust> {
    verify(scheme, headers, body, &[Secret::new(KEY)], NOW)
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

proptest! {
    #[test]
    fn the_oracle_agrees(id in "[a-zA-Z0-9_-]{1,40}", body in "[ -~]{0,200}", away in -400_i64..400) {
        let webhook = standardwebhooks::Webhook::new(KEY).unwrap();
        let at = NOW + away;
        let signature = webhook.sign(&id, at, body.as_bytes()).unwrap();
        let sent = headers(&[("webhook-id", &id), ("webhook-timestamp", &at.to_string()), ("webhook-signature", &signature)]);
        let trusted = check(&Scheme::Standard, &sent, body.as_bytes());
        prop_assert_eq!(trusted.is_ok(), away.abs() <= 300);
        let mut ours = HeaderMap::new();
        ours.extend(sign(&Scheme::Standard, &Secret::new(KEY), &id, at, body.as_bytes()));
        prop_assert_eq!(&ours["webhook-signature"], &signature);
        // The oracle knows only the present.
        let mut ours = HeaderMap::new();
        let now = jiff::Timestamp::now().as_second();
        ours.extend(sign(&Scheme::Standard, &Secret::new(KEY), &id, now, body.as_bytes()));
        prop_assert!(webhook.verify(body.as_bytes(), &ours).is_ok());
    }

    #[test]
    fn every_change_of_one_bit_is_refused(
        which in 0_usize..6, body in prop::collection::vec(any::<u8>(), 1..60), at in any::<prop::sample::Index>(),
    ) {
        let scheme = &schemes()[which];
        let mut sent = HeaderMap::new();
        sent.extend(sign(scheme, &Secret::new(KEY), "msg_1", NOW, &body));
        prop_assert!(check(scheme, &sent, &body).is_ok());
        // Of the body.
        let bit = at.index(body.len() * 8);
        prop_assert!(check(scheme, &sent, &flipped(&body, bit)).is_err());
        // Of the signed id and time, as far as a header can hold the change, and of the signature once it is decoded.
        let names: Vec<_> = sent.keys().cloned().collect();
        for name in names {
            let value = sent[&name].to_str().unwrap().to_owned();
            let changed = if name.as_str().ends_with("signature") || name.as_str().ends_with("signature-256") {
                of_signature(&value, at)
            } else {
                let bit = at.index(value.len() * 8);
                flipped(value.as_bytes(), bit)
            };
            let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
            let mut forged = sent.clone();
            forged.insert(&name, changed);
            prop_assert!(check(scheme, &forged, &body).is_err(), "{} {:?}", name, forged);
        }
    }
}

/// Changes one bit of the bytes of the signature that a header ends with.
fn of_signature(value: &str, at: prop::sample::Index) -> Vec<u8> {
    let start = value.rfind(['=', ',']).filter(|at| *at + 1 < value.len());
    let start = start.or_else(|| value.trim_end_matches('=').rfind(['=', ','])).map_or(0, |at| at + 1);
    let (before, signature) = value.split_at(start);
    let is_hex = signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decoded: Vec<u8> = if is_hex {
        signature
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    } else {
        STANDARD.decode(signature).unwrap()
    };
    let changed = flipped(&decoded, at.index(decoded.len() * 8));
    let changed =
        if is_hex { changed.iter().map(|byte| format!("{byte:02x}")).collect() } else { STANDARD.encode(changed) };
    format!("{before}{changed}").into_bytes()
}
