//! Who may call what, at run time.
//!
//! The table comes from the .proto files through [`proto::POLICIES`]; a method that is neither in it nor in the
//! short list of [`OPEN`] ones does not exist for a caller. There is no default that lets anybody in.

use std::collections::HashMap;

use proto::v1::Role;
use tonic::Status;

use crate::{
    auth::{self, Caller, Roles, verifier::Verified},
    error::{self, Reason},
};

/// What may be called without a policy of ours: health (asked by load balancers) and reflection.
const OPEN: [(&str, Shape, bool); 4] = [
    ("/grpc.health.v1.Health/Check", Shape::Unary, true),
    ("/grpc.health.v1.Health/Watch", Shape::Stream, false),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Shape::Stream, false),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Shape::Stream, false),
];

/// Whether a method answers once or goes on answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Unary,
    Stream,
}

/// The rule of one method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) path: &'static str,
    pub(crate) shape: Shape,
    /// Answered even by a gateway that is full.
    pub(crate) always: bool,
    anyone: bool,
    roles: Roles,
    own: Roles,
}

/// The rule of every method that may be called.
pub(crate) fn rules(pool: &proto::DescriptorPool) -> HashMap<&'static str, Rule> {
    let open = OPEN.into_iter().map(|(path, shape, always)| Rule {
        path,
        shape,
        always,
        anyone: true,
        roles: Roles::NONE,
        own: Roles::NONE,
    });
    let ours = proto::POLICIES.iter().map(|policy| Rule {
        path: policy.path,
        shape: shape(pool, policy.path),
        always: false,
        anyone: policy.roles.contains(&Role::Anyone),
        roles: Roles::of(policy.roles),
        own: Roles::of(policy.own),
    });
    open.chain(ours).map(|rule| (rule.path, rule)).collect()
}

fn shape(pool: &proto::DescriptorPool, path: &str) -> Shape {
    let method = path.trim_start_matches('/').split_once('/').and_then(|(service, method)| {
        pool.get_service_by_name(service)?.methods().find(|found| found.name() == method)
    });
    if method.is_some_and(|method| method.is_server_streaming()) { Shape::Stream } else { Shape::Unary }
}

impl Rule {
    /// The caller, when the rule lets them in.
    ///
    /// # Errors
    /// `UNAUTHENTICATED_CALLER` without a token, `ROLE_FORBIDDEN` with roles that do not suffice.
    pub(crate) fn admit(&self, verified: Option<Verified>) -> Result<Caller, Status> {
        let Some(Verified { member, roles, .. }) = verified else {
            if self.anyone {
                return Ok(Caller::ANONYMOUS);
            }
            return Err(error::status(Reason::UnauthenticatedCaller, "this method needs a token", []));
        };
        if !self.anyone && !roles.meets(self.roles) {
            let needed = self.roles.names().join(",");
            let message = format!("this method is for the roles {needed}");
            return Err(error::status(Reason::RoleForbidden, message, [("roles", needed)]));
        }
        let unbound = self.anyone || roles.meets(self.roles.without(self.own));
        Ok(Caller { member, roles, own_only: !unbound })
    }
}

/// The policies as a table in Markdown, for the README.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| method | roles | only their own |\n|---|---|---|\n");
    for policy in proto::POLICIES {
        let names = |roles: &[Role]| roles.iter().map(|r| auth::name(*r)).collect::<Vec<_>>().join(", ");
        let path = policy.path.trim_start_matches("/cartulary.v1.");
        table.push_str(&format!("| `{path}` | {} | {} |\n", names(policy.roles), names(policy.own)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::reason_of;

    fn rule(path: &str) -> Rule {
        rules(&proto::descriptor_pool().expect("readable"))[path]
    }

    fn with(roles: &[Role]) -> Option<Verified> {
        Some(Verified::for_tests(7, Roles::of(roles)))
    }

    #[test]
    fn the_shop_window_is_for_anybody_and_the_rest_is_not() {
        let window = rule("/cartulary.v1.CatalogService/GetProduct");
        assert_eq!(window.admit(None).expect("open"), Caller::ANONYMOUS);
        assert!(window.admit(with(&[Role::Partner])).is_ok());
        let order = rule("/cartulary.v1.OrderService/ProcessOrder");
        assert_eq!(reason_of(&order.admit(None).expect_err("closed")), Some(Reason::UnauthenticatedCaller));
        for roles in [&[][..], &[Role::Seller], &[Role::Partner, Role::Analyst]] {
            let refusal = order.admit(with(roles)).expect_err("not for them");
            assert_eq!(reason_of(&refusal), Some(Reason::RoleForbidden), "{roles:?}");
        }
    }

    #[test]
    fn a_buyer_reaches_their_own_orders_and_a_buyer_who_is_operator_reaches_all() {
        let get = rule("/cartulary.v1.OrderService/GetOrder");
        assert!(get.admit(with(&[Role::Buyer])).expect("in").own_only);
        assert!(!get.admit(with(&[Role::Operator])).expect("in").own_only);
        assert!(!get.admit(with(&[Role::Buyer, Role::Operator])).expect("in").own_only);
        // A role that this method does not know frees nobody.
        assert!(get.admit(with(&[Role::Buyer, Role::Seller])).expect("in").own_only);
    }

    #[test]
    fn every_method_of_the_table_has_a_rule_and_watching_is_a_stream() {
        let pool = proto::descriptor_pool().expect("readable");
        let rules = rules(&pool);
        assert_eq!(rules.len(), proto::POLICIES.len() + OPEN.len());
        let streams = rules.values().filter(|r| r.shape == Shape::Stream).map(|r| r.path);
        assert!(streams.clone().any(|path| path == "/cartulary.v1.OrderService/WatchOrder"));
        assert!(streams.into_iter().all(|path| path.contains("Watch") || path.contains("Reflection")));
        assert!(markdown().contains("| `OrderService/GetOrder` | buyer, partner, analyst, operator | buyer |"));
    }
}
