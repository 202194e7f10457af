//! `cartulary token`: a signed token for somebody.

use std::{io::Write as _, time::Duration};

use domain::ids::MemberId;
use jiff::SignedDuration;
use ports::clock::Clock as _;
use proto::v1::Role;
use uuid::Uuid;

use super::{Error, Settings};
use crate::{
    auth::{self, Roles, Signer},
    clock::SystemClock,
};

/// What `token` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// What the member may do: buyer, seller, partner, analyst or operator; may be repeated.
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role)]
    roles: Vec<Role>,
    /// Whose token it is, a UUID [default: a member that stands for these roles].
    #[arg(long, value_name = "UUID")]
    member: Option<Uuid>,
    /// How long it is good.
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = ttl)]
    ttl: Duration,
    /// Prints token, member and roles as one line of JSON.
    #[arg(long)]
    json: bool,
}

fn role(text: &str) -> Result<Role, String> {
    auth::role(text).ok_or_else(|| "expected buyer, seller, partner, analyst or operator".to_owned())
}

fn ttl(text: &str) -> Result<Duration, String> {
    let read = text.parse::<SignedDuration>().ok().and_then(|read| Duration::try_from(read).ok());
    let read = read.filter(|read| !read.is_zero());
    read.ok_or_else(|| "expected a duration such as 10m, 12h or 720h".to_owned())
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let config = args.settings.validated()?;
    let roles = Roles::of(&args.roles);
    let member = args.member.map_or_else(|| stand_in(roles), MemberId);
    let key = config.signing_key();
    if !config.data.is_dir() {
        return Err(super::no_shop(&config));
    }
    let signer = Signer::load_or_generate(&key)?;
    let token = signer.issue(member, roles, SystemClock.now(), args.ttl)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let roles = roles.names();
        let seconds = args.ttl.as_secs();
        let line = serde_json::json!({
            "token": token, "member": member.to_string(), "roles": roles, "expires_in_seconds": seconds,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{token}")?;
    }
    Ok(())
}

/// A member who stands for a set of roles: the same one each time, so that tokens of two days belong to one person.
fn stand_in(roles: Roles) -> MemberId {
    MemberId::derived(Uuid::nil(), &[b"token", roles.names().join(",").as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_durations_are_read_or_refused() {
        assert_eq!(role("operator"), Ok(Role::Operator));
        assert!(role("anyone").is_err() && role("Operator").is_err());
        assert_eq!(ttl("90s"), Ok(Duration::from_secs(90)));
        assert!(ttl("0s").is_err() && ttl("-1h").is_err() && ttl("soon").is_err());
    }

    #[test]
    fn a_stand_in_is_the_same_person_tomorrow_and_nobody_else() {
        let member = |roles: &[Role]| stand_in(Roles::of(roles));
        assert_eq!(member(&[Role::Buyer, Role::Operator]), member(&[Role::Operator, Role::Buyer]));
        assert_ne!(member(&[Role::Buyer]), member(&[Role::Operator]));
    }
}
