//! Encryption towards real servers: one with a certificate, one without TLS, and what each `sslmode` makes of them.

use std::{path::PathBuf, time::Duration};

use ports_postgres::{Address, Server, Sessions};
use servers::{
    Authority, or_not_run,
    postgres::{Options, Postgres},
};

/// Whether the connection is encrypted, as the server sees it, or why there is none.
async fn is_encrypted(url: &str, roots: Option<PathBuf>) -> Result<bool, String> {
    let long = Duration::from_secs(60);
    let sessions = Sessions { size: 1, connect_max: long, answer_max: long, statement_max: long, settings: "" };
    let address = Address::from(url).trusting(roots.as_deref());
    let server = Server::new(&address, &sessions).map_err(|error| error.to_string())?;
    let rows = server.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await;
    Ok(rows.map_err(|trouble| trouble.to_string())?[0].get(0))
}

/// A server that was vouched for as `localhost`, and who did, and somebody else.
struct Scene {
    server: Postgres,
    right: Authority,
    wrong: Authority,
}

fn scene() -> Option<Scene> {
    let (right, wrong) = or_not_run(Authority::new().and_then(|right| Ok((right, Authority::new()?))))?;
    let server = or_not_run(Postgres::start(Options { authority: Some(&right), ..Options::default() }))?;
    Some(Scene { server, right, wrong })
}

impl Scene {
    async fn ask(&self, mode: &str, host: &str, roots: Option<&Authority>) -> Result<bool, String> {
        let url = self.server.url("postgres").replace("127.0.0.1", host);
        is_encrypted(&format!("{url}{mode}"), roots.map(Authority::root)).await
    }
}

#[tokio::test]
async fn each_mode_asks_of_the_server_what_it_says() {
    let Some(scene) = scene() else { return };
    let (right, wrong) = (Some(&scene.right), Some(&scene.wrong));
    let (name, number) = ("localhost", "127.0.0.1");
    assert_eq!(scene.ask("?sslmode=disable", number, None).await, Ok(false));
    for (mode, host, roots) in [
        ("", number, None),
        ("?sslmode=prefer", number, None),
        ("?sslmode=require", number, None),
        ("?sslmode=require", number, right),
        ("?sslmode=verify-ca", number, right),
        ("?sslmode=verify-full", name, right),
    ] {
        assert_eq!(scene.ask(mode, host, roots).await, Ok(true), "{mode} {host}");
    }
    for (mode, host, roots, why) in [
        // As with libpq: whoever names a root certificate wants it to matter.
        ("?sslmode=require", name, wrong, "invalid peer certificate"),
        ("?sslmode=verify-ca", name, wrong, "invalid peer certificate"),
        ("?sslmode=verify-full", name, wrong, "invalid peer certificate"),
        ("?sslmode=verify-full", number, right, "not valid for name"),
        // Whoever the system trusts has not vouched for it.
        ("?sslmode=verify-ca", name, None, ""),
        ("?sslmode=verify-full", name, None, ""),
    ] {
        let refused = scene.ask(mode, host, roots).await.unwrap_err();
        assert!(refused.contains(why), "{mode} {host}: {refused}");
    }
}

#[tokio::test]
async fn who_requires_encryption_never_goes_without() {
    let Some(plain) = or_not_run(Postgres::start(Options { own: true, ..Options::default() })) else { return };
    let Some(authority) = or_not_run(Authority::new()) else { return };
    let url = plain.url("postgres").replace("127.0.0.1", "localhost");
    assert_eq!(is_encrypted(&url, None).await, Ok(false), "it prefers, and cannot have");
    for mode in ["require", "verify-ca", "verify-full"] {
        let refused = is_encrypted(&format!("{url}?sslmode={mode}"), Some(authority.root())).await.unwrap_err();
        assert!(refused.contains("does not support TLS"), "{mode}: {refused}");
    }
}
