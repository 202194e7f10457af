//! The key that signs tokens, and the file it lives in.
//!
//! The file is PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it, readable by its owner only: whoever
//! reads it can be anybody. Its public half is named by its RFC 7638 thumbprint, which goes into each token as
//! `kid`, so that a verifier with several keys (while one replaces another) picks the right one.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::ids::MemberId;
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use rand::{TryRng as _, rngs::SysRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Roles;

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Who issues our tokens and whom they are for.
pub(super) const ISSUER: &str = "cartulary";

/// Why a signing key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error("the signing key {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error("the signing key {path} is readable by others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The content is not an Ed25519 key in PKCS#8 PEM, or a token could not be made with it.
    #[error("the signing key cannot be used: {0}")]
    Unusable(#[from] jsonwebtoken::errors::Error),
    /// The system gave no random bytes for a new key.
    #[error("no random bytes for a new signing key: {0}")]
    Entropy(#[from] rand::rngs::SysError),
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    pub(super) roles: Vec<String>,
    pub(super) iat: i64,
    pub(super) exp: i64,
}

/// The public half of a key: what a verifier needs.
#[derive(Clone)]
pub struct PublicKey {
    pub(super) kid: String,
    pub(super) key: DecodingKey,
}

/// Issues tokens.
pub struct Signer {
    key: EncodingKey,
    public: PublicKey,
}

impl Signer {
    /// A new key, in memory only.
    ///
    /// # Errors
    /// [`KeyError::Entropy`].
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_der(&new_key()?)
    }

    /// The key in the file at `path`.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::Exposed`] or [`KeyError::Unusable`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = |source| KeyError::File { path: path.display().to_string(), source };
        let mode = fs::metadata(path).map_err(file)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.display().to_string(), mode });
        }
        let key = EncodingKey::from_ed_pem(&fs::read(path).map_err(file)?)?;
        Self::from_der(key.as_bytes())
    }

    /// The key in the file at `path`, which is created (mode 0600, synced) when it is not there.
    ///
    /// # Errors
    /// As [`Self::load`], or [`KeyError::Entropy`].
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        let file = |source| KeyError::File { path: path.display().to_string(), source };
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut created) => {
                let pem = pem(&new_key()?);
                created.write_all(pem.as_bytes()).and_then(|()| created.sync_all()).map_err(file)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(file(error)),
        }
        Self::load(path)
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = EncodingKey::from_ed_der(der);
        let jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        let public = PublicKey { kid, key: DecodingKey::from_jwk(&jwk)? };
        Ok(Self { key, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// A token for `member` with `roles`, good from `now` for `ttl`.
    ///
    /// # Errors
    /// [`KeyError::Unusable`].
    pub fn issue(&self, member: MemberId, roles: Roles, now: Timestamp, ttl: Duration) -> Result<String, KeyError> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: member.to_string(),
            roles: roles.names(),
            iat: now.as_second(),
            exp: now.as_second().saturating_add(ttl),
        };
        let header = Header { kid: Some(self.public.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }

    /// A secret for another purpose, made from this key: it lasts as long as the key does.
    #[must_use]
    pub fn derived_secret(&self, purpose: &str) -> [u8; 32] {
        let hash = Sha256::new().chain_update("cartulary derived secret\0").chain_update(purpose);
        hash.chain_update([0]).chain_update(self.key.as_bytes()).finalize().into()
    }
}

fn new_key() -> Result<Vec<u8>, KeyError> {
    let mut seed = [0_u8; 32];
    SysRng.try_fill_bytes(&mut seed)?;
    Ok([&PKCS8_PREFIX[..], &seed].concat())
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.pem");
        let first = Signer::load_or_generate(&path).expect("a new key");
        let mode = fs::metadata(&path).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let second = Signer::load_or_generate(&path).expect("the same key");
        assert_eq!(first.public.kid, second.public.kid);
        assert_eq!(first.derived_secret("a"), second.derived_secret("a"));
        assert_ne!(first.derived_secret("a"), first.derived_secret("b"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.pem");
        Signer::load_or_generate(&path).expect("a new key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(Signer::load(&path), Err(KeyError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.pem");
        fs::write(&path, "not a key").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        assert!(matches!(Signer::load_or_generate(&path), Err(KeyError::Unusable(_))));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "not a key");
    }

    #[test]
    fn two_generated_keys_differ() {
        let kid = || Signer::generate().expect("a key").public.kid;
        assert_ne!(kid(), kid());
    }
}
