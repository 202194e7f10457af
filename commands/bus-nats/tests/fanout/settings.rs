//! Servers that are too old, do not know a setting, or have been set up by somebody else.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};
use bus_nats::{Error, Limits, Nats, Settings};
use servers::{nats::Options, or_not_run};

use super::{
    proxy::{Change, changed},
    scene::{connect, jetstream, limits, server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_too_old_is_named_with_its_version() {
    let Some(server) = server() else { return };
    let change = Change::Greeting { before: "\"version\":\"2.", after: "\"version\":\"1.2." };
    let old = changed(server.url(), change).await;
    let refused = Nats::connect(Settings::new(&old), limits()).await.unwrap().check().await;
    assert!(
        matches!(&refused, Err(Error::TooOld { found, needed: "2.12.0" }) if found.starts_with("1.2.")),
        "{refused:?}"
    );
    let bus = Nats::connect(Settings::new(&old), limits()).await.unwrap().bus();
    let refused = bus.tail().await;
    assert!(matches!(refused, Err(ports::bus::Error::Unfit(_))), "{refused:?}");
    connect(&server).await.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_setting_that_the_server_ignores_is_named() {
    let options = Options { own: true, jetstream: &["strict: false"], ..Options::default() };
    let Some(server) = or_not_run(servers::nats::Nats::start(options)) else { return };
    let limits = Limits { duplicate_window: Duration::from_secs(77), ..limits() };
    for (before, after, setting) in [
        ("\"duplicate_window\"", "\"duplicate_windoX\"", "duplicate_window"),
        ("\"discard\"", "\"discarX\"", "discard"),
        ("\"allow_direct\"", "\"allow_direcX\"", "allow_direct"),
    ] {
        let forgetful = changed(server.url(), Change::Request { before, after }).await;
        let settings = Settings { prefix: setting.replace('_', "-"), ..Settings::new(&forgetful) };
        let refused = Nats::connect(settings.clone(), limits.clone()).await.unwrap().check().await;
        assert!(matches!(&refused, Err(Error::Setting { setting: named, .. }) if *named == setting), "{refused:?}");
        // With a server that listens the same stream is put right.
        let settings = Settings { servers: vec![server.url().to_owned()], ..settings };
        Nats::connect(settings, limits.clone()).await.unwrap().check().await.unwrap();
    }
    let forgetful = Change::Request { before: "\"max_ack_pending\"", after: "\"max_ack_pendinX\"" };
    let settings = Settings::new(&changed(server.url(), forgetful).await);
    let nats = Nats::connect(settings, limits).await.unwrap();
    let refused = nats.inlet("prices").unwrap().check().await;
    assert!(matches!(&refused, Err(Error::Setting { setting: "max_ack_pending", .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_somebody_else_made_is_put_right_or_refused() {
    let Some(server) = server() else { return };
    let bare = jetstream(&server).await;
    let config = Config {
        name: "shop-events".to_owned(),
        subjects: vec!["shop.evt.>".to_owned()],
        max_age: Duration::from_secs(60),
        description: Some("made by hand".to_owned()),
        ..Config::default()
    };
    bare.create_stream(config.clone()).await.unwrap();
    connect(&server).await.check().await.unwrap();
    let found = bare.get_stream("shop-events").await.unwrap().cached_info().config.clone();
    assert_eq!((found.max_age, found.subjects), (Duration::ZERO, vec!["shop.evt.*.*.*".to_owned()]));
    assert_eq!(found.description, config.description, "what does not matter stays");

    bare.delete_stream("shop-events").await.unwrap();
    bare.create_stream(Config { storage: StorageType::Memory, ..config }).await.unwrap();
    let refused = connect(&server).await.check().await;
    assert!(matches!(&refused, Err(Error::Setting { setting: "storage", .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("stream shop-events"), "it says where");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_waits_for_a_server_that_is_not_there() {
    let settings = Settings::new("nats://127.0.0.1:1");
    let limits = Limits { connect_max: Duration::from_millis(200), ..limits() };
    let nats = Nats::connect(settings, limits).await.unwrap();
    assert!(matches!(nats.check().await, Err(Error::Unreachable(_))));
    assert!(matches!(nats.bus().tail().await, Err(ports::bus::Error::Unknown(_))));
    let refused =
        Nats::connect(Settings { prefix: "a.b".into(), ..Settings::new("nats://127.0.0.1:1") }, Limits::default());
    assert!(matches!(refused.await, Err(Error::Settings(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_stream_refuses_and_forgets_nothing() {
    let Some(server) = server() else { return };
    let full = Settings { bytes_max: Some(40_000), ..Settings::new(server.url()) };
    let mut log = super::scene::Log::new(5);
    log.append(300).await;
    let mut relay = log.relay(Nats::connect(full.clone(), limits()).await.unwrap().bus()).await;
    let refused = loop {
        if let Err(refused) = relay.step().await {
            break refused;
        }
    };
    assert!(matches!(refused, commands::relay::Error::Bus(ports::bus::Error::Full(_))), "{refused:?}");
    let first = super::scene::stream(&server, "shop-events").await.remove(0);
    assert_eq!(first.sequence, 1, "the oldest is still there");
    let larger = Settings { bytes_max: None, ..full };
    log.drain(&mut log.relay(Nats::connect(larger, limits()).await.unwrap().bus()).await).await;
    log.is_published_by(&server).await;
}
