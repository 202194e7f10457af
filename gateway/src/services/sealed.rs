//! Sealed texts: opened for those who may see them.

use domain::{ids::MemberId, personal::Personal};
use ports::keys::{self, MemberKey};
use projections::sealed::Sealed;
use tonic::Status;

use super::{Context, refusal};
use crate::auth::Caller;

impl Context {
    /// Opens a text. One whose member was forgotten is noise, and shown as none at all.
    ///
    /// # Errors
    /// While the keys are out of reach: no text would mean that the member was forgotten.
    pub(super) async fn unseal(&self, sealed: Option<&Sealed>) -> Result<Option<String>, Status> {
        let Some(Personal::Sealed { member, ciphertext }) = sealed.map(|sealed| &sealed.value) else { return Ok(None) };
        let key = match self.keys.existing(member.0).await {
            Ok(key) => key,
            Err(error @ (keys::Error::Unavailable(_) | keys::Error::Full)) => return Err(refusal::of_keys(&error)),
            Err(error @ keys::Error::Failed(_)) => {
                tracing::warn!(%error, "a sealed text is not shown");
                None
            }
        };
        Ok(key.and_then(|key| read(&key, ciphertext)))
    }

    /// What was said about a thing of `owner`, as this caller may read it: empty if nothing was, if they may not, or
    /// if the owner was forgotten.
    ///
    /// # Errors
    /// As [`Context::unseal`].
    pub(super) async fn words(
        &self,
        caller: &Caller,
        owner: MemberId,
        sealed: Option<&Sealed>,
    ) -> Result<String, Status> {
        if caller.may_read(owner) { Ok(self.unseal(sealed).await?.unwrap_or_default()) } else { Ok(String::new()) }
    }
}

/// The text behind a ciphertext; `None` when it is noise under this key.
fn read(key: &MemberKey, ciphertext: &[u8]) -> Option<String> {
    let plaintext = key.open(ciphertext).ok()?;
    serde_json::from_slice(&plaintext).ok()
}

#[cfg(test)]
mod tests {
    use domain::{
        decider::Stored as _,
        order::{Cancelled, Event},
    };

    use super::*;

    #[test]
    fn what_an_event_seals_is_read_with_its_key_and_noise_under_any_other() {
        let member = MemberId::from_u128(1);
        let mut event: Event = Cancelled { why: Personal::words(member, "too dear") }.into();
        let key = MemberKey([1; 32]);
        for field in event.personal() {
            let plaintext = field.plaintext().expect("open");
            field.seal(key.seal(uuid::Uuid::from_u128(2), 0, &plaintext));
        }
        let Event::Cancelled(Cancelled { why: Some(Personal::Sealed { ciphertext, .. }) }) = event else {
            panic!("sealed");
        };
        assert_eq!(read(&key, &ciphertext).as_deref(), Some("too dear"));
        assert_eq!(read(&MemberKey([2; 32]), &ciphertext), None);
        assert_eq!(read(&key, b"noise"), None);
    }
}
