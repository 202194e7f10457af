//! Who is calling: signed tokens in, a [`Caller`] out.
//!
//! A token is a JWT signed with Ed25519, short-lived, with the member in `sub` and the roles beside it.
//! [`Signer`] issues them from a key file, [`Verifier`] checks them; the door asks it once per request and
//! puts the [`Caller`] into the request's extensions, where [`caller`] finds it. Services never see a token.

mod signer;
pub(crate) mod verifier;

use domain::ids::MemberId;
use proto::v1::Role;
use tonic::Status;

pub use signer::{KeyError, PublicKey, Signer};
pub use verifier::{Verifier, VerifierLimits};

use crate::error::{self, Reason};

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u16);

impl Roles {
    /// No role at all.
    pub const NONE: Self = Self(0);

    /// The roles of a list.
    #[must_use]
    pub fn of(roles: &[Role]) -> Self {
        roles.iter().fold(Self::NONE, |set, role| set.with(*role))
    }

    /// The set with `role` in it.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u16)
    }

    /// Whether `role` is in it.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u16 != 0
    }

    /// Whether the two sets share a role.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The roles that are here and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names, lower case, as tokens and the command line spell them: `buyer`, `operator`.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        ALL.iter().filter(|role| self.has(**role)).map(|role| name(*role)).collect()
    }
}

/// Every role that a token can carry.
const ALL: [Role; 5] = [Role::Buyer, Role::Seller, Role::Partner, Role::Analyst, Role::Operator];

/// The role as tokens and the command line spell it.
#[must_use]
pub fn name(role: Role) -> String {
    role.as_str_name().trim_start_matches("ROLE_").to_ascii_lowercase()
}

/// The role with this name, e.g. `buyer`; `anyone` is none that a token can carry.
#[must_use]
pub fn role(text: &str) -> Option<Role> {
    ALL.into_iter().find(|role| name(*role) == text)
}

/// Who is calling, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The member; all zeros for an anonymous caller.
    pub member: MemberId,
    /// The roles of the token; none for an anonymous caller.
    pub roles: Roles,
    /// Whether this caller reaches only their own things in this RPC, by its policy.
    pub own_only: bool,
}

impl Caller {
    /// Somebody without a token, in the shop window.
    pub const ANONYMOUS: Self = Self { member: MemberId::from_u128(0), roles: Roles::NONE, own_only: true };

    /// Whether the caller has this role.
    #[must_use]
    pub const fn is(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// Passes when the caller may reach a thing of `owner`.
    ///
    /// # Errors
    /// `NOT_YOURS`.
    pub fn may_reach(&self, owner: MemberId) -> Result<(), Status> {
        if self.own_only && owner != self.member {
            return Err(error::status(Reason::NotYours, "this belongs to another member", []));
        }
        Ok(())
    }

    /// Whether the caller may read what is sealed as `owner`'s: their own, or their work with it.
    #[must_use]
    pub fn may_read(&self, owner: MemberId) -> bool {
        owner == self.member || self.is(Role::Partner) || self.is(Role::Operator)
    }

    /// Passes when the caller may set a field that only `role` may set.
    ///
    /// # Errors
    /// `ROLE_FORBIDDEN`, naming the field and the role.
    pub fn may_set(&self, field: &str, role: Role) -> Result<(), Status> {
        if self.is(role) {
            return Ok(());
        }
        let message = format!("{field} may be set by the role {} only", name(role));
        Err(error::status(Reason::RoleForbidden, message, [("field", field.to_owned()), ("roles", name(role))]))
    }
}

/// The caller of a request, as the door has checked it.
#[must_use]
pub fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get().copied().unwrap_or(Caller::ANONYMOUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_go_both_ways_and_anyone_is_no_name() {
        for known in ALL {
            assert_eq!(role(&name(known)), Some(known));
        }
        assert_eq!(Roles::of(&[Role::Operator, Role::Buyer]).names(), ["buyer", "operator"]);
        for unknown in ["anyone", "unspecified", "BUYER", ""] {
            assert_eq!(role(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn only_those_bound_to_their_own_are_kept_from_others() {
        let (me, other) = (MemberId::from_u128(1), MemberId::from_u128(2));
        let buyer = Caller { member: me, roles: Roles::of(&[Role::Buyer]), own_only: true };
        assert!(buyer.may_reach(me).is_ok());
        let refusal = buyer.may_reach(other).expect_err("not theirs");
        assert_eq!(error::reason_of(&refusal), Some(Reason::NotYours));
        assert!(Caller { own_only: false, ..buyer }.may_reach(other).is_ok());
    }

    #[test]
    fn what_is_sealed_is_read_by_its_owner_and_by_those_who_work_with_it() {
        let (me, other) = (MemberId::from_u128(1), MemberId::from_u128(2));
        let as_a = |role| Caller { member: me, roles: Roles::of(&[role]), own_only: false };
        let readers: Vec<_> = ALL.into_iter().filter(|role| as_a(*role).may_read(other)).collect();
        assert_eq!(readers, [Role::Partner, Role::Operator]);
        assert!(ALL.into_iter().all(|role| as_a(role).may_read(me)));
    }

    #[test]
    fn a_field_for_operators_names_itself_when_refused() {
        let buyer = Caller { member: MemberId::from_u128(1), roles: Roles::of(&[Role::Buyer]), own_only: true };
        let refusal = buyer.may_set("unit_price", Role::Operator).expect_err("buyers may not");
        assert_eq!(error::reason_of(&refusal), Some(Reason::RoleForbidden));
        assert!(refusal.message().contains("unit_price"));
        assert!(Caller { roles: Roles::of(&[Role::Operator]), ..buyer }.may_set("unit_price", Role::Operator).is_ok());
    }
}
