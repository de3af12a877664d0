//! Random tokens, from the generator of the process's TLS stack.

use std::fmt::Write;

use rustls::crypto::aws_lc_rs;
use uuid::Uuid;

use crate::config::Secret;

/// The bytes of a token.
const BYTES: usize = 32;

/// Returns a new token: 32 random bytes as 64 hexadecimal digits. If the generator fails, the bytes are those of two
/// random UUIDs.
pub(crate) fn token() -> Secret {
    let mut bytes = [0; BYTES];
    if aws_lc_rs::default_provider().secure_random.fill(&mut bytes).is_err() {
        // The generator of UUIDs is the operating system's.
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        bytes[..16].copy_from_slice(one.as_bytes());
        bytes[16..].copy_from_slice(other.as_bytes());
    }
    let mut token = String::with_capacity(2 * BYTES);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    Secret::new(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_another() {
        let (one, other) = (token(), token());
        assert_eq!((one.expose().len(), other.expose().len()), (64, 64));
        assert_ne!(one.expose(), other.expose());
    }
}
