//! A trigger's webhook, as its item says: the scheme, the addresses that may send, the rate, and the secrets that are
//! live.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    hooks::{
        manners::Manners,
        scheme::{Preset, Scheme},
        state::GITHUB_HOOK,
    },
    times::rfc3339,
};

/// The most entries of a list of addresses.
const MOST_ADDRESSES: usize = 100;
/// The highest rate that can be set, in deliveries a minute.
const HIGHEST_RATE: u64 = 60_000;
/// The members of `webhookConfig` that only the API writes. Clients send them back.
pub const OWN_MEMBERS: [&str; 6] =
    ["hookId", "secretVersion", "previousSecretVersion", "previousSecretUntil", "earlierSecrets", "secretSetAt"];
/// The most secrets before the present one that are live.
const MOST_EARLIER: usize = 4;
/// The members of `webhookConfig` that every preset has.
const COMMON_MEMBERS: [&str; 4] = ["preset", "allowedIps", "ratePerMinute", "alias"];
/// The lengths that an alias may have.
const ALIAS_LENGTHS: std::ops::RangeInclusive<usize> = 3..=64;
/// The number of hexadecimal digits of a hook's id.
const ID_DIGITS: usize = 32;
/// Names that stand in paths of the hooks surface. The presets' names are kept for webhooks of the stack, like
/// GitHub's.
const RESERVED_ALIASES: [&str; 6] = [GITHUB_HOOK, "test", "ping", "hooks", "webhooks", "triggers"];

/// The part of a `webhookConfig` that a client sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The scheme.
    pub scheme: Scheme,
    /// How it knows a delivery again, and answers one.
    pub manners: Manners,
    /// The addresses that may send. None means all.
    pub allowed: Vec<IpNet>,
    /// The most deliveries a minute.
    pub rate_per_minute: Option<u64>,
}

impl Webhook {
    /// Reads a `webhookConfig`: the scheme, `allowedIps`, and `ratePerMinute` from 1 to 60,000. The `alias` is only
    /// checked. The members that only the API writes are left alone.
    ///
    /// # Errors
    /// Returns every problem, each with the name of its member, unknown members and an empty `allowedIps` among them.
    pub fn read(config: &Map<String, Value>) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let webhook = Self::needed(config, &mut problems);
        // A list that has lost its last address must not become an open door.
        if config.get("allowedIps").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            let problem = "must hold an address; leave it out, or send null, to let all addresses send".to_owned();
            problems.push(("allowedIps".to_owned(), problem));
        }
        if webhook.as_ref().is_some_and(|webhook| webhook.manners.id_header.is_none()) {
            let problem = "must be a header of its own, with another id in each delivery";
            problems.push(("idHeader".to_owned(), problem.to_owned()));
        }
        let problem = match config.get("alias") {
            None | Some(Value::Null) => None,
            Some(Value::String(alias)) => problem_of_alias(alias),
            Some(_) => Some("must be a string".to_owned()),
        };
        problems.extend(problem.map(|problem| ("alias".to_owned(), problem)));
        for name in config.keys().filter(|name| !is_member(name)) {
            problems.push((name.clone(), "is no member of webhookConfig".to_owned()));
        }
        webhook.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// Reads what a delivery needs of a stored `webhookConfig`. Its alias and members that are not known are left
    /// alone: a later release may have written them. An empty `allowedIps` is no problem here, and lets all addresses
    /// send.
    ///
    /// # Errors
    /// Returns every problem of what is needed, each with the name of its member.
    pub fn of_stored(config: &Map<String, Value>) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let webhook = Self::needed(config, &mut problems);
        webhook.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// Reads the scheme with its options, `allowedIps` and `ratePerMinute`, and adds each problem with the name of its
    /// member. Returns `None` if the scheme has a problem. A webhook may come with a problem of another member, too.
    fn needed(config: &Map<String, Value>, problems: &mut Vec<(String, String)>) -> Option<Self> {
        let scheme = Scheme::read(config, problems);
        let manners = Manners::read(config, scheme.as_ref(), problems);
        let allowed = allowed(config.get("allowedIps"), problems);
        let rate_per_minute = match config.get("ratePerMinute") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let rate = value.as_u64().filter(|rate| (1..=HIGHEST_RATE).contains(rate));
                if rate.is_none() {
                    let problem = format!("must be a whole number from 1 to {HIGHEST_RATE}");
                    problems.push(("ratePerMinute".to_owned(), problem));
                }
                rate
            }
        };
        Some(Self { scheme: scheme?, manners, allowed, rate_per_minute })
    }

    /// Returns true if this address may send. An IPv4 address that is written as an IPv6 one counts as itself. `None`,
    /// an unknown address, may send only if all addresses may.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        if self.allowed.is_empty() {
            return true;
        }
        // An unknown address is none of the list.
        address.is_some_and(|address| self.allowed.iter().any(|net| net.contains(&address.to_canonical())))
    }
}

/// Returns true if a text can be in the address of a webhook, as its id or its alias: 3 to 64 ASCII letters, digits,
/// hyphens and underscores. Which names are reserved is left to those who write them.
pub fn is_address(text: &str) -> bool {
    ALIAS_LENGTHS.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Returns the words for what is wrong with an alias, or `None` if nothing is: its length, its characters, or that it
/// is reserved. One that looks like a hook's id could be taken for one.
fn problem_of_alias(alias: &str) -> Option<String> {
    let is_lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_lower(byte) || byte == b'-' || byte == b'_';
    let is_name = ALIAS_LENGTHS.contains(&alias.len())
        && alias.bytes().all(is_inner)
        && [alias.bytes().next(), alias.bytes().last()].into_iter().flatten().all(is_lower);
    if !is_name {
        let (least, most) = (ALIAS_LENGTHS.start(), ALIAS_LENGTHS.end());
        return Some(format!(
            "must have {least} to {most} lower-case letters, digits, hyphens and underscores, and begin and end with a letter \
             or a digit"
        ));
    }
    let is_reserved = RESERVED_ALIASES.contains(&alias) || alias.parse::<Preset>().is_ok();
    if is_reserved {
        return Some("is reserved".to_owned());
    }
    let is_id = alias.len() == ID_DIGITS && alias.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| "must not look like the id of a webhook".to_owned())
}

/// Returns the versions of the secret that are live at `now`: the present one, and those before it in their grace time,
/// the newest first.
pub fn live_versions(config: &Map<String, Value>, now: Timestamp) -> Vec<i64> {
    let earlier = in_grace(config, now).into_iter().map(|(version, _)| version);
    version_in(config, "secretVersion").into_iter().chain(earlier).collect()
}

/// Writes into a `webhookConfig` that `version` is the present secret since `now`. The one before it stays live for
/// `grace_seconds`. Those that are live beside that one stay so until their own time, for nobody knows which of them a
/// sender has by now, but no longer than `grace_seconds` either: so 0 ends all of them. If there are more than three,
/// only the newest three stay.
pub fn replace_secret(config: &mut Map<String, Value>, version: i64, now: Timestamp, grace_seconds: i64) {
    let last = Timestamp::from_second(now.as_second().saturating_add(grace_seconds)).unwrap_or(now);
    if let Some(before) = version_in(config, "secretVersion") {
        let mut earlier = in_grace(config, now);
        earlier.retain(|(earlier, _)| ![version, before].contains(earlier) && now < last);
        earlier.truncate(MOST_EARLIER - 1);
        let shown = |(version, until): (i64, Timestamp)| json!({"version": version, "until": rfc3339(until.min(last))});
        let earlier: Vec<Value> = earlier.into_iter().map(shown).collect();
        config.insert("previousSecretVersion".to_owned(), json!(before));
        config.insert("previousSecretUntil".to_owned(), json!(rfc3339(last)));
        config.remove("earlierSecrets");
        if !earlier.is_empty() {
            config.insert("earlierSecrets".to_owned(), json!(earlier));
        }
    }
    config.insert("secretVersion".to_owned(), json!(version));
    config.insert("secretSetAt".to_owned(), json!(rfc3339(now)));
}

/// Returns the versions of the secret before the present one that are live at `now`, each with the time at which it
/// ends, the newest first. An entry that is not understood is left out.
fn in_grace(config: &Map<String, Value>, now: Timestamp) -> Vec<(i64, Timestamp)> {
    let of = |config: &Map<String, Value>, version: &str, until: &str| {
        let until: Timestamp = config.get(until)?.as_str()?.parse().ok()?;
        Some((version_in(config, version)?, until)).filter(|(_, until)| now < *until)
    };
    let listed = config.get("earlierSecrets").and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(|entry| of(entry.as_object()?, "version", "until")).take(MOST_EARLIER);
    of(config, "previousSecretVersion", "previousSecretUntil").into_iter().chain(listed).collect()
}

/// Returns the version of a secret in a member, or `None` if there is none.
fn version_in(config: &Map<String, Value>, name: &str) -> Option<i64> {
    config.get(name).and_then(Value::as_i64).filter(|version| *version > 0)
}

/// Returns a network of IPv4 addresses that are written as IPv6 ones (`::ffff:0:0/96`) as the IPv4 network that it is.
fn canonical(net: IpNet) -> IpNet {
    let mapped = |net: &Ipv6Net| {
        let prefix = net.prefix_len().checked_sub(96)?;
        Ipv4Net::new(net.addr().to_ipv4_mapped()?, prefix).ok().map(IpNet::V4)
    };
    match net {
        IpNet::V6(v6) => mapped(&v6).unwrap_or(net),
        IpNet::V4(_) => net,
    }
}

/// Returns true if `webhookConfig` may have a member of this name, with any preset.
fn is_member(name: &str) -> bool {
    let of_preset = |preset: &crate::hooks::scheme::Preset| preset.options().iter().any(|(known, _)| *known == name);
    let presets = <crate::hooks::scheme::Preset as strum::VariantArray>::VARIANTS;
    COMMON_MEMBERS.contains(&name) || OWN_MEMBERS.contains(&name) || presets.iter().any(of_preset)
}

/// Reads a list of at most 100 addresses and networks. An entry that is neither is a problem, and is left out. A
/// longer list, and any other value, is a problem, and the result is empty. Without a value, or with null, it is
/// empty, too. Empty means that all addresses may send, so the result must not be used if there is a problem.
fn allowed(value: Option<&Value>, problems: &mut Vec<(String, String)>) -> Vec<IpNet> {
    let none = Vec::new();
    let listed = match value {
        None | Some(Value::Null) => &none,
        Some(Value::Array(listed)) if listed.len() <= MOST_ADDRESSES => listed,
        Some(_) => {
            let problem = format!("must be a list of at most {MOST_ADDRESSES} addresses or networks");
            problems.push(("allowedIps".to_owned(), problem));
            &none
        }
    };
    let net = |text: &str| {
        let address = || Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()));
        text.parse::<IpNet>().ok().map(canonical).or_else(address)
    };
    let mut nets = Vec::new();
    for (at, value) in listed.iter().enumerate() {
        match value.as_str().and_then(net) {
            Some(net) => nets.push(net),
            None => {
                let problem = "must be an address or a network in CIDR notation, such as 192.0.2.0/24".to_owned();
                problems.push((format!("allowedIps[{at}]"), problem));
            }
        }
    }
    nets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Value) -> Result<Webhook, Vec<String>> {
        let webhook = Webhook::read(config.as_object().unwrap());
        webhook.map_err(|problems| problems.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let config = json!({"preset": "x", "allowedIps": ["192.0.2.1", "192.0.2.0/33", 7, "host"], "ratePerMinute": 0,
            "hookId": "kept", "alowedIps": []});
        let names = ["preset", "allowedIps[1]", "allowedIps[2]", "allowedIps[3]", "ratePerMinute", "alowedIps"];
        let mut found = read(config).unwrap_err();
        found.sort();
        let mut names = names.map(str::to_owned);
        names.sort();
        assert_eq!(found, names);
        assert_eq!(read(json!({"allowedIps": "192.0.2.1"})), Err(vec!["allowedIps".to_owned()]));
    }

    #[test]
    fn an_alias_is_a_short_name_that_nothing_else_has() {
        let longest = "a".repeat(64);
        for alias in ["new-issues", "a_1", "123", longest.as_str(), "0123456789abcdef0123456789abcdeg"] {
            assert!(read(json!({"alias": alias})).is_ok(), "{alias}");
        }
        let (too_long, id) = ("a".repeat(65), "0123456789abcdef".repeat(2));
        for alias in [
            "",
            "ab",
            &too_long,
            &id,
            "New",
            "a b",
            "a/b",
            "a.b",
            "a%62",
            "-ab",
            "ab-",
            "_ab",
            "ab_",
            "ab\n",
            "a\u{0}b",
            "stra\u{df}e",
            "\u{430}bc",
            "github",
            "slack",
            "standard",
            "test",
            "hooks",
        ] {
            assert_eq!(read(json!({"alias": alias})), Err(vec!["alias".to_owned()]), "{alias:?}");
        }
        assert_eq!(read(json!({"alias": 7})), Err(vec!["alias".to_owned()]));
        assert!(read(json!({"alias": null})).is_ok());
    }

    /// The rows: a member, whether a client may set it, and whether a delivery can be received with it.
    #[test]
    fn a_delivery_needs_less_than_a_client_may_write() {
        for (config, is_written, is_received) in [
            (json!({"preset": "github", "alias": "new-issues", "ratePerMinute": 5}), true, true),
            (json!({"preset": "github", "ofALaterRelease": {"a": 1}}), false, true),
            (json!({"alias": "slack"}), false, true),
            (json!({"alias": "New-Issues"}), false, true),
            (json!({"alias": 7}), false, true),
            (json!({"preset": "ofALaterRelease"}), false, false),
            (json!({"preset": "github", "header": "x-signature"}), false, false),
            (json!({"allowedIps": ["192.0.2.0/33"]}), false, false),
            (json!({"ratePerMinute": "5"}), false, false),
            (json!({"allowedIps": []}), false, true),
            (json!({"preset": "hmac", "idHeader": "User-Agent"}), false, true),
            (json!({"preset": "hmac", "timestampHeader": "X-Time", "idHeader": "X-Time"}), false, true),
            (json!({"allowedIps": null}), true, true),
        ] {
            let object = config.as_object().unwrap();
            let found = (Webhook::read(object).is_ok(), Webhook::of_stored(object).is_ok());
            assert_eq!(found, (is_written, is_received), "{config}");
        }
        for (text, expected) in [
            ("slack", true),
            ("New_issues-", true),
            ("ab", false),
            ("a/b", false),
            ("a.bc", false),
            ("stra\u{df}e", false),
        ] {
            assert_eq!(is_address(text), expected, "{text}");
        }
        assert!(is_address(&"a".repeat(64)) && !is_address(&"a".repeat(65)));
    }

    #[test]
    fn addresses_are_those_of_the_list() {
        let webhook =
            read(json!({"allowedIps": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7", "::ffff:203.0.113.9",
                "::ffff:192.0.3.128/121"]}));
        let webhook = webhook.unwrap();
        for (address, is_allowed) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.9", true),
            ("::ffff:192.0.3.9", false),
            ("192.0.3.200", true),
            ("::ffff:192.0.3.200", true),
            ("192.0.3.127", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("203.0.113.9", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(webhook.allows(address.parse().ok()), is_allowed, "{address}");
        }
        assert!(!webhook.allows(None));
        assert!(read(json!({})).unwrap().allows(None));
    }

    #[test]
    fn the_secret_before_is_live_for_its_grace_time() {
        let config =
            json!({"secretVersion": 3, "previousSecretVersion": 1, "previousSecretUntil": "2026-01-01T00:00:10Z"});
        let at = |text: &str| live_versions(config.as_object().unwrap(), text.parse().unwrap());
        assert_eq!(at("2026-01-01T00:00:09Z"), [3, 1]);
        assert_eq!(at("2026-01-01T00:00:10Z"), [3]);
        assert!(live_versions(json!({"secretVersion": 0}).as_object().unwrap(), Timestamp::now()).is_empty());
    }

    /// The rows: the grace times of the replacements, one every ten seconds from a time on, and the versions that are
    /// live at the last of them, and after an hour.
    #[test]
    fn a_secret_in_its_grace_time_outlives_further_replacements() {
        let (day, start) = (86_400, Timestamp::from_second(1_767_225_600).unwrap());
        let after = |seconds: i64| start + jiff::SignedDuration::from_secs(seconds);
        for (graces, live, later) in [
            (&[0][..], &[1][..], &[1][..]),
            (&[0, day], &[2, 1], &[2, 1]),
            (&[0, day, day], &[3, 2, 1], &[3, 2, 1]),
            (&[0, day, 60], &[3, 2, 1], &[3]),
            (&[0, 60, day], &[3, 2, 1], &[3, 2]),
            (&[0, day, 0], &[3], &[3]),
            (&[0, 5, day], &[3, 2], &[3, 2]),
            (&[0, day, day, day, day, day, day], &[7, 6, 5, 4, 3], &[7, 6, 5, 4, 3]),
            (&[0, day, day, 0, day], &[5, 4], &[5, 4]),
        ] {
            let (mut config, mut at) = (Map::new(), start);
            for (n, grace) in graces.iter().enumerate() {
                let n = i64::try_from(n).unwrap();
                at = after(n * 10);
                replace_secret(&mut config, n + 1, at, *grace);
            }
            assert_eq!(live_versions(&config, at), live, "{graces:?} {config:?}");
            assert_eq!(live_versions(&config, after(3_600)), later, "{graces:?} {config:?}");
            assert!(Webhook::read(&config).is_ok(), "{config:?}");
        }
    }
}
