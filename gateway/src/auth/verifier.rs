//! Checks tokens, and remembers the good ones.
//!
//! An Ed25519 check costs about 50 µs, more than everything else the door does together, and the same
//! token comes with every request of a session. Verified tokens are therefore kept in a bounded LRU under
//! their full text until they expire; a forged one never gets in, so it cannot push out a good one. Expiry is
//! asked of the clock on every request, never cached.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::ids::MemberId;
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, Validation};
use lru::LruCache;
use ports::clock::Clock;
use tonic::Status;

use super::{
    PublicKey, Roles,
    signer::{Claims, ISSUER},
};
use crate::error::{self, Reason};

/// Locks in the cache: two requests meet in one of this many, by the last byte of their signatures.
const SHARDS: usize = 16;

/// The bounds of a verifier.
#[derive(Debug, Clone)]
pub struct VerifierLimits {
    /// Verified tokens kept, about 500 bytes each.
    pub verified_tokens_max: usize,
    /// Longer tokens are refused unread.
    pub token_bytes_max: usize,
    /// How far the clocks of issuer and verifier may differ.
    pub leeway: Duration,
}

impl Default for VerifierLimits {
    fn default() -> Self {
        Self { verified_tokens_max: 16_384, token_bytes_max: 2_048, leeway: Duration::from_secs(30) }
    }
}

/// What a good token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) member: MemberId,
    pub(crate) roles: Roles,
    /// Seconds since 1970.
    issued: i64,
    /// Seconds since 1970.
    expires: i64,
}

#[cfg(test)]
impl Verified {
    pub(crate) const fn for_tests(member: u128, roles: Roles) -> Self {
        Self { member: MemberId::from_u128(member), roles, issued: 0, expires: i64::MAX }
    }
}

type Shard = Mutex<LruCache<Box<str>, Verified>>;

/// Checks tokens against a set of public keys.
pub struct Verifier {
    keys: Vec<PublicKey>,
    shards: Vec<Shard>,
    limits: VerifierLimits,
    validation: Validation,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// A verifier for tokens signed by any of `keys`.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>, limits: VerifierLimits, clock: Arc<dyn Clock>) -> Self {
        let per_shard = NonZeroUsize::new(limits.verified_tokens_max / SHARDS).unwrap_or(NonZeroUsize::MIN);
        let shards = (0..SHARDS).map(|_| Mutex::new(LruCache::new(per_shard))).collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Expiry is checked below, against the clock port and on every use, cached or not.
        validation.validate_exp = false;
        Self { keys, shards, limits, validation, clock }
    }

    /// The member and roles of the token in the headers; `None` when there is no token.
    ///
    /// # Errors
    /// `UNAUTHENTICATED_CALLER` or `TOKEN_EXPIRED`.
    pub(crate) fn verify(&self, headers: &HeaderMap) -> Result<Option<Verified>, Status> {
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
        let token = header.to_str().ok().and_then(bearer).ok_or_else(|| refused("expected `Bearer <token>`"))?;
        self.token(token).map(Some)
    }

    /// The member and roles of a token.
    ///
    /// # Errors
    /// `UNAUTHENTICATED_CALLER` or `TOKEN_EXPIRED`.
    pub(crate) fn token(&self, token: &str) -> Result<Verified, Status> {
        if token.len() > self.limits.token_bytes_max {
            return Err(refused("the token is too long to be ours"));
        }
        let shard = &self.shards[usize::from(token.as_bytes().last().copied().unwrap_or(0)) % SHARDS];
        let cached = shard.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied();
        let verified = match cached {
            Some(verified) => self.check_times(verified)?,
            None => {
                let verified = self.check_times(self.check_signature(token)?)?;
                shard.lock().unwrap_or_else(PoisonError::into_inner).put(token.into(), verified);
                verified
            }
        };
        Ok(verified)
    }

    fn check_signature(&self, token: &str) -> Result<Verified, Status> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("this is not a JWT"))?;
        let kid = header.kid.ok_or_else(|| refused("the token does not name its key"))?;
        let key = self.keys.iter().find(|key| key.kid == kid);
        let key = key.ok_or_else(|| refused("the token is signed with a key we do not know"))?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &self.validation)
            .map_err(|_| refused("the token is not signed by us, or not for us"))?;
        let claims = decoded.claims;
        let member = claims.sub.parse().map_err(|_| refused("the token's subject is no member"))?;
        // A role that we do not know (of a newer version, say) grants nothing.
        let known: Vec<_> = claims.roles.iter().filter_map(|name| super::role(name)).collect();
        Ok(Verified { member, roles: Roles::of(&known), issued: claims.iat, expires: claims.exp })
    }

    fn check_times(&self, verified: Verified) -> Result<Verified, Status> {
        let now = self.clock.now().as_second();
        let leeway = i64::try_from(self.limits.leeway.as_secs()).unwrap_or(i64::MAX);
        if now >= verified.expires.saturating_add(leeway) {
            return Err(error::status(Reason::TokenExpired, "the token has expired", []));
        }
        if now < verified.issued.saturating_sub(leeway) {
            return Err(refused("the token was issued in the future; compare the clocks"));
        }
        Ok(verified)
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn refused(why: &str) -> Status {
    error::status(Reason::UnauthenticatedCaller, why, [])
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proto::v1::Role;

    use super::*;
    use crate::auth::Signer;

    struct HandClock(Mutex<Timestamp>);

    impl HandClock {
        fn forward(&self, seconds: i64) {
            let mut now = self.0.lock().expect("not poisoned");
            *now = now.checked_add(SignedDuration::from_secs(seconds)).expect("in range");
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            *self.0.lock().expect("not poisoned")
        }
    }

    struct Case {
        signer: Signer,
        clock: Arc<HandClock>,
        verifier: Verifier,
    }

    const MEMBER: MemberId = MemberId::from_u128(42);
    const MINUTE: Duration = Duration::from_secs(60);

    fn case() -> Case {
        let signer = Signer::generate().expect("a key");
        let clock = Arc::new(HandClock(Mutex::new(Timestamp::from_second(1_700_000_000).expect("in range"))));
        let verifier = Verifier::new(vec![signer.public()], VerifierLimits::default(), clock.clone());
        Case { signer, clock, verifier }
    }

    impl Case {
        fn token(&self) -> String {
            self.signer.issue(MEMBER, Roles::of(&[Role::Buyer]), self.clock.now(), MINUTE).expect("a token")
        }

        fn verify(&self, header: &str) -> Result<Option<Verified>, Status> {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, header.parse().expect("a header"));
            self.verifier.verify(&headers)
        }

        fn refusal(&self, header: &str) -> Option<Reason> {
            error::reason_of(&self.verify(header).expect_err("refused"))
        }

        fn cached(&self) -> usize {
            self.verifier.shards.iter().map(|shard| shard.lock().expect("not poisoned").len()).sum()
        }
    }

    #[test]
    fn a_good_token_says_who_and_what_twice_the_same() {
        let case = case();
        let header = format!("Bearer {}", case.token());
        for _ in 0..2 {
            let verified = case.verify(&header).expect("good").expect("present");
            assert_eq!((verified.member, verified.roles), (MEMBER, Roles::of(&[Role::Buyer])));
        }
        assert_eq!(case.cached(), 1);
        assert_eq!(case.verifier.verify(&HeaderMap::new()).expect("no token is no error"), None);
    }

    #[test]
    fn a_token_ends_with_its_time_even_when_it_was_seen_before() {
        let case = case();
        let header = format!("Bearer {}", case.token());
        case.verify(&header).expect("good");
        case.clock.forward(60 + 29);
        case.verify(&header).expect("within the leeway");
        case.clock.forward(1);
        assert_eq!(case.refusal(&header), Some(Reason::TokenExpired));
    }

    #[test]
    fn a_token_from_the_future_is_refused() {
        let case = case();
        case.clock.forward(100);
        let token = case.token();
        case.clock.forward(-100);
        assert_eq!(case.refusal(&format!("Bearer {token}")), Some(Reason::UnauthenticatedCaller));
    }

    #[test]
    fn a_token_of_another_key_is_refused_even_under_our_key_id() {
        let case = case();
        let stranger = Signer::generate().expect("a key");
        let token = |header: &jsonwebtoken::Header| {
            let claims = Claims {
                iss: ISSUER.to_owned(),
                aud: ISSUER.to_owned(),
                sub: MEMBER.to_string(),
                roles: vec!["operator".to_owned()],
                iat: 1_700_000_000,
                exp: 1_700_000_060,
            };
            let secret = stranger.derived_secret("any");
            let key = jsonwebtoken::EncodingKey::from_secret(&secret);
            jsonwebtoken::encode(header, &claims, &key).expect("a token")
        };
        let theirs = stranger.issue(MEMBER, Roles::NONE, case.clock.now(), MINUTE).expect("a token");
        assert_eq!(case.refusal(&format!("Bearer {theirs}")), Some(Reason::UnauthenticatedCaller));
        let mut symmetric = jsonwebtoken::Header::new(Algorithm::HS256);
        symmetric.kid = Some(case.signer.public().kid);
        assert_eq!(case.refusal(&format!("Bearer {}", token(&symmetric))), Some(Reason::UnauthenticatedCaller));
        assert_eq!(case.cached(), 0, "what is refused is not remembered");
    }

    #[test]
    fn a_changed_payload_is_refused() {
        let case = case();
        let token = case.token();
        let mut parts: Vec<&str> = token.split('.').collect();
        let other = case.signer.issue(MemberId::from_u128(7), Roles::NONE, case.clock.now(), MINUTE).expect("a token");
        parts[1] = other.split('.').nth(1).expect("a payload");
        assert_eq!(case.refusal(&format!("Bearer {}", parts.join("."))), Some(Reason::UnauthenticatedCaller));
    }

    #[test]
    fn what_is_no_bearer_token_is_refused() {
        let case = case();
        let long = format!("Bearer {}", "x".repeat(VerifierLimits::default().token_bytes_max + 1));
        for header in ["Basic abc", "Bearer", "Bearer ", "abc", "Bearer a.b.c", &long] {
            assert_eq!(case.refusal(header), Some(Reason::UnauthenticatedCaller), "{header}");
        }
        assert!(case.verify(&format!("bearer {}", case.token())).is_ok(), "the scheme has no case");
    }

    #[test]
    fn the_memory_for_tokens_is_bounded() {
        let signer = Signer::generate().expect("a key");
        let clock = Arc::new(HandClock(Mutex::new(Timestamp::from_second(1_700_000_000).expect("in range"))));
        let limits = VerifierLimits { verified_tokens_max: SHARDS, ..VerifierLimits::default() };
        let case = Case { verifier: Verifier::new(vec![signer.public()], limits, clock.clone()), signer, clock };
        for member in 0..100 {
            let token = case.signer.issue(MemberId::from_u128(member), Roles::NONE, case.clock.now(), MINUTE);
            case.verify(&format!("Bearer {}", token.expect("a token"))).expect("good");
        }
        assert!(case.cached() <= SHARDS);
    }
}
