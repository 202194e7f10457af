//! Page tokens: opaque, bound to their query, and signed.
//!
//! A token holds the key after which the next page begins. Clients must not read or build one (AIP-158),
//! and a token of one query says nothing in another, so it carries a hash of the query it belongs to and an
//! HMAC over everything. Anything else than what we issued is `INVALID_PAGE_TOKEN`; there is no way to ask for a
//! row range that the query's own filters would not have allowed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tonic::Status;

use crate::error::{self, Reason};

/// The layout; a token of another one is not ours any more.
const VERSION: u8 = 1;
const QUERY: usize = 8;
const SEAL: usize = 16;
/// Longer text is not looked at.
const TOKEN_BYTES_MAX: usize = 4096;

/// Issues and reads page tokens.
#[derive(Clone)]
pub struct PageTokens {
    secret: [u8; 32],
}

impl PageTokens {
    /// Tokens signed with `secret`; they outlive a restart if it does.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The token for the page after the row `key` of the query named by `query`: the method and
    /// every filter, but neither page size nor token.
    #[must_use]
    pub fn issue(&self, query: &[&str], key: &[u8]) -> String {
        let mut token = Vec::with_capacity(1 + QUERY + key.len() + SEAL);
        token.push(VERSION);
        token.extend_from_slice(&fingerprint(query));
        token.extend_from_slice(key);
        let seal = self.seal(&token);
        token.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The key in a token of this query; `None` for the empty token of a first page.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN` for anything that [`Self::issue`] did not make for the same query.
    pub fn read(&self, query: &[&str], token: &str) -> Result<Option<Vec<u8>>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        self.open(query, token)
            .map(Some)
            .ok_or_else(|| error::status(Reason::InvalidPageToken, "page_token is not a token of this query", []))
    }

    fn open(&self, query: &[&str], token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        if !same(&self.seal(signed), seal) {
            return None;
        }
        let (version, rest) = signed.split_first()?;
        let (of, key) = rest.split_at_checked(QUERY)?;
        (*version == VERSION && of == fingerprint(query)).then(|| key.to_vec())
    }

    fn seal(&self, data: &[u8]) -> [u8; SEAL] {
        let full = hmac_sha256(&self.secret, data);
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&full[..SEAL]);
        seal
    }
}

/// A hash of the parts of a query, each with its length, so that no two lists of parts are the same bytes.
fn fingerprint(query: &[&str]) -> [u8; QUERY] {
    let mut hash = Sha256::new();
    for part in query {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut short = [0; QUERY];
    short.copy_from_slice(&hash.finalize()[..QUERY]);
    short
}

/// HMAC (RFC 2104) over SHA-256, for keys of at most one block.
fn hmac_sha256(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(data).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Equality that takes the same time wherever the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[&str] = &["ListOrders", "member-1", "DELIVERED"];

    fn tokens() -> PageTokens {
        PageTokens::new([7; 32])
    }

    #[test]
    fn a_token_brings_its_key_back() {
        let token = tokens().issue(QUERY, b"order-17");
        assert_eq!(tokens().read(QUERY, &token).expect("ours"), Some(b"order-17".to_vec()));
        assert_eq!(tokens().read(QUERY, "").expect("a first page"), None);
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "safe in a URL");
    }

    #[test]
    fn a_token_of_another_query_or_another_shop_is_refused() {
        let token = tokens().issue(QUERY, b"order-17");
        for other in [
            &["ListOrders", "member-2", "DELIVERED"][..],
            &["ListOrders", "member-1"],
            &["ListOrders", "member-", "1DELIVERED"],
        ] {
            assert!(tokens().read(other, &token).is_err(), "{other:?}");
        }
        assert!(PageTokens::new([8; 32]).read(QUERY, &token).is_err());
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let token = tokens().issue(QUERY, b"order-17");
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(tokens().read(QUERY, &changed).is_err(), "byte {at}");
            assert!(tokens().read(QUERY, &token[..at]).map_or(true, |key| key.is_none()), "cut at {at}");
        }
        for nonsense in ["!", "AAAA", "\u{e9}", &"A".repeat(TOKEN_BYTES_MAX + 4)] {
            let refusal = tokens().read(QUERY, nonsense).expect_err("not ours");
            assert_eq!(error::reason_of(&refusal), Some(Reason::InvalidPageToken));
        }
    }

    #[test]
    fn the_seal_is_hmac_as_others_compute_it() {
        // RFC 4231, test case 1, with its 20-byte key padded by zeros, which HMAC defines as the same key.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53];
        assert_eq!(hmac_sha256(&key, b"Hi There")[..8], expected);
    }
}
