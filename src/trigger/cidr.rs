//! Blocks of IP addresses in CIDR notation, which the matcher `cidr` of an event pattern names. The spelling of an
//! address is read as event-ruler reads it (<https://github.com/aws/event-ruler>).

use std::net::IpAddr;

/// The addresses that share their first `length` bits with `address`.
#[derive(Debug)]
pub(crate) struct Block {
    address: IpAddr,
    length: u32,
}

impl Block {
    /// Reads a block in CIDR notation: an address, `/`, and the number of leading bits that count. The bits after these
    /// do not matter. Returns `None` for any other text, and for more bits than the address has.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address = self::address(address)?;
        // The length must have no sign, which u32 would accept.
        let length = length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()))?;
        (length <= bits(address).1).then_some(Self { address, length })
    }

    /// Returns the block of the one address that `text` spells, or `None` if it spells none.
    pub(super) fn of_address(text: &str) -> Option<Self> {
        let address = address(text)?;
        Some(Self { address, length: bits(address).1 })
    }

    /// Returns true if `text` spells an address in the block, in any way. One of the other version of IP is never in
    /// it.
    pub(super) fn contains(&self, text: &str) -> bool {
        let Some(address) = address(text) else { return false };
        let ((ours, width), (other, other_width)) = (bits(self.address), bits(address));
        // A shift by all 128 bits is not possible, so checked_shr returns None for it.
        width == other_width && (ours ^ other).checked_shr(width - self.length).unwrap_or(0) == 0
    }
}

/// Reads an address as event-ruler does: the numbers of an IPv4 address are decimal, whatever zeros they begin with.
/// Returns `None` for a text of more than 64 bytes and for any text that is no address.
fn address(text: &str) -> Option<IpAddr> {
    // The longest address has 45 characters. Zeros in front may be more.
    if text.len() > 64 || !text.contains([':', '.']) {
        return None;
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut bytes = [0; 4];
    let mut parts = text.split('.');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.bytes().all(|digit| digit.is_ascii_digit()))?;
        *byte = part.parse().ok()?;
    }
    parts.next().is_none().then(|| bytes.into())
}

/// Returns an address as a number, and the number of its bits: 32 or 128.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}
