//! Opening the shop.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bus_nats::Nats;
use commands::{
    runner::Runner,
    shop::{Loop, Shop},
    steps::{Steps, carrier_notices, provider_notices},
    wakeups::AnnouncedLog,
};
use esdb_wire::Mode;
use ports::clock::Clock;
use projections::{
    engine::Engine,
    positions::{Follower, Positions},
};
use sandbox::{SandboxCarrier, SandboxPayments};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    Running,
    engines::{self, Engines},
    feeds,
    loops::{self, Tasks},
    wire::{self, Serving},
};
use crate::{
    auth::{KeyError, Signer, Verifier},
    clock::SystemClock,
    config::{CommandNodes, Config},
    page_token::PageTokens,
    server::{self, Door, Routes, forward::Forward},
    services::{self, Context, Views},
    transcode::Unservable,
};

/// Why a shop does not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made.
    #[error("the folder {} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A gateway and those who decide for it know each other by one key.
    #[error("there is no {}: those who forward, and the nodes that decide for them, need the same one", path.display())]
    KeyOfAll {
        /// Where it must be.
        path: PathBuf,
    },
    /// The signing key cannot be used.
    #[error(transparent)]
    SigningKey(#[from] KeyError),
    /// The log, the keys or the views do not open.
    #[error(transparent)]
    Engines(#[from] engines::Error),
    /// The views do not belong to the log.
    #[error("the views cannot be folded; delete the view store to have it built anew")]
    Engine(#[from] projections::engine::Error),
    /// What partners publish cannot be taken.
    #[error(transparent)]
    Feeds(#[from] feeds::Error),
    /// The EventStoreDB protocol cannot be served.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] ports::store::Error),
    /// The API's descriptors are broken.
    #[error("reflection cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The API cannot be served as JSON.
    #[error("the API cannot be served")]
    Unservable(#[from] Unservable),
}

pub(super) async fn start(config: Config) -> Result<Running, Error> {
    let clock = system_clock();
    let folder = |source| Error::Folder { path: config.data.clone(), source };
    std::fs::create_dir_all(&config.data).map_err(folder)?;
    let mut opened = Engines::open(&config, &clock).await?;
    let nats = engines::bus(&config).await?;
    let first_start = !config.signing_key().exists();
    if first_start && (config.gateway != config.commands || !config.command_nodes.urls.is_empty()) {
        return Err(Error::KeyOfAll { path: config.signing_key() });
    }
    let signer = Arc::new(Signer::load_or_generate(&config.signing_key())?);
    // The address is taken before anything runs, so that a second shop by mistake changes nothing.
    let listen = |source| Error::Listen { addr: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;

    let (closing, close) = watch::channel(false);
    let (resting, rest) = watch::channel(false);
    let mut tasks = Tasks::new(rest);
    wake(&mut tasks, &mut opened, nats.as_ref());
    let (shop, lane_loops) = Shop::open(&opened.log, &opened.keys, Arc::clone(&clock), &config.desk);
    let steps = Steps {
        shop: shop.clone(),
        provider: Arc::new(SandboxPayments::new(config.payments.clone(), Arc::clone(&clock))),
        carrier: Arc::new(SandboxCarrier::new(config.carrier.clone(), Arc::clone(&clock))),
        keys: Arc::clone(&opened.keys),
        partner_call_max: config.runner.partner_call_max,
    };
    let mut lanes = JoinSet::new();
    lane_loops.into_iter().for_each(|lane: Loop| drop(lanes.spawn(lane)));
    let positions = fold(&mut tasks, &config, &opened).await?;
    process(&mut tasks, &config, &opened, &steps).await?;
    let wire = protocol(&mut tasks, &config, &opened, &signer).await?;

    let context = Arc::new(Context {
        shop: shop.clone(),
        steps,
        log: Arc::clone(&opened.log),
        keys: Arc::clone(&opened.keys),
        views: Views::new(&opened.rows, &opened.log, positions.clone()),
        pages: PageTokens::new(signer.derived_secret("page tokens")),
        limits: config.limits.clone(),
        rules: config.shop.clone(),
    });
    let (standard, health) = Routes::standard(config.limits.clone())?;
    let services = if config.gateway || config.commands { services() } else { Vec::new() };
    tell(&health, &services, ServingStatus::Serving).await;
    let (door, open) = doors(standard, &context, &config, &signer)?;
    relay(&mut tasks, &config, &opened, nats.as_ref(), &door, &signer).await?;
    let mut server = JoinSet::new();
    server.spawn(server::run(listener, open, closed(health, services, close)));
    let loops = tasks.set;
    Ok(Running {
        addr,
        wire,
        signer,
        first_start,
        positions,
        door,
        shop,
        engines: opened,
        server,
        loops,
        lanes,
        closing,
        resting,
    })
}

/// The shop's own door, and the one that is open to others.
fn doors(
    standard: Routes,
    context: &Arc<Context>,
    config: &Config,
    signer: &Signer,
) -> Result<(Arc<Door>, Arc<Door>), Unservable> {
    let verifier = || Verifier::new(vec![signer.public()], config.limits.tokens.clone(), system_clock());
    let CommandNodes { urls, limits } = &config.command_nodes;
    let mut routes = services::routes(standard.clone(), context);
    if !urls.is_empty() {
        routes = routes.forwarding(Forward::new(urls, limits, config.limits.message_in_max_bytes)?);
    }
    let door = Door::new(routes.clone(), verifier())?;
    // Feeds come in at the shop's own door all the same.
    let open = match (config.gateway, config.commands) {
        (true, _) => Arc::clone(&door),
        (false, true) => Door::new(routes.only_deciding(), verifier())?,
        (false, false) => Door::new(standard, verifier())?,
    };
    Ok((door, open))
}

/// Begins to fold the views, or to follow how far another process has folded them.
async fn fold(tasks: &mut Tasks, config: &Config, opened: &Engines) -> Result<Positions, Error> {
    let views = projections::views::all();
    if !config.projections {
        let follower = Follower::new(Arc::clone(&opened.rows), &views);
        let positions = follower.positions();
        tasks.spawn("the follower of the views", |rest| loops::follow(follower, rest));
        return Ok(positions);
    }
    let mut engine = Engine::new(Arc::clone(&opened.log), Arc::clone(&opened.rows), views, config.engine);
    let positions = engine.positions();
    // The first step finds out whether views and log belong together, before anybody asks anything. Views that
    // cannot be written now, on a full disk for one, must not keep the shop closed: the loop tries again.
    match engine.step().await {
        Err(projections::engine::Error::Views(error)) => {
            tracing::warn!(%error, "the views cannot be folded yet; queries answer what they have");
        }
        done => drop(done?),
    }
    let log = Arc::clone(&opened.log);
    tasks.spawn("the projection engine", |rest| loops::fold(engine, log, rest));
    Ok(positions)
}

/// Begins to run the processes, unless another process does.
async fn process(tasks: &mut Tasks, config: &Config, opened: &Engines, steps: &Steps) -> Result<(), Error> {
    if !config.processes {
        return Ok(());
    }
    let runner = Runner::open(Arc::clone(&opened.log), steps.clone(), config.runner.clone()).await?;
    tasks.spawn("the process runner", |rest| loops::process(runner, rest));
    tasks.until_rest("the listener for payment notices", provider_notices(steps.clone()));
    tasks.until_rest("the listener for carrier notices", carrier_notices(steps.clone()));
    Ok(())
}

/// Begins to wake other nodes and to be woken by them, where there are others and a bus between them.
fn wake(tasks: &mut Tasks, opened: &mut Engines, nats: Option<&Nats>) {
    let Some(nats) = nats.filter(|_| !opened.log.sole_writer()) else { return };
    let announced = Arc::new(AnnouncedLog::new(Arc::clone(&opened.log), Arc::new(nats.clone())));
    tasks.until_rest("the wake-ups between nodes", Arc::clone(&announced).run());
    opened.log = announced;
}

/// Begins to move events to the bus and partners' messages from it, unless another process does.
async fn relay(
    tasks: &mut Tasks,
    config: &Config,
    opened: &Engines,
    nats: Option<&Nats>,
    door: &Arc<Door>,
    signer: &Arc<Signer>,
) -> Result<(), Error> {
    let Some(nats) = nats.filter(|_| config.relays) else { return Ok(()) };
    let relay = engines::relay(config, &opened.log, nats).await?;
    tasks.until_rest("the relay", relay.run());
    for feed in feeds::open(config, nats, door, signer, &system_clock())? {
        tasks.until_rest("a partner's feed", feed.run());
    }
    Ok(())
}

/// Begins to serve the EventStoreDB protocol, if an address is named for it.
async fn protocol(
    tasks: &mut Tasks,
    config: &Config,
    opened: &Engines,
    signer: &Signer,
) -> Result<Option<SocketAddr>, Error> {
    let clock = system_clock();
    let verifier = Verifier::new(vec![signer.public()], config.limits.tokens.clone(), Arc::clone(&clock));
    let log = Arc::clone(&opened.log);
    let Some(serving) = Serving::open(&config.wire, Mode::Shop, log, verifier, clock).await? else { return Ok(None) };
    let addr = serving.addr;
    tasks.spawn("the EventStoreDB protocol", |mut rest| async move {
        let end = async move { drop(rest.wait_for(|rest| *rest).await) };
        if let Err(error) = serving.run(end).await {
            tracing::error!(%error, "the EventStoreDB protocol is served no more");
        }
    });
    Ok(Some(addr))
}

fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Resolves when the shop is to close. Health says so first, so that a balancer looks elsewhere.
async fn closed(health: HealthReporter, services: Vec<&'static str>, mut close: watch::Receiver<bool>) {
    // An error means that whoever could close the shop is gone, which closes it as well.
    drop(close.wait_for(|close| *close).await);
    tell(&health, &services, ServingStatus::NotServing).await;
}

/// The services of the API, by name.
fn services() -> Vec<&'static str> {
    let mut services: Vec<&str> = proto::POLICIES.iter().filter_map(|policy| policy.path.split('/').nth(1)).collect();
    services.dedup();
    services
}

/// Sets the health of the process as a whole and of every service by name: balancers ask for either.
async fn tell(health: &HealthReporter, services: &[&str], status: ServingStatus) {
    for service in services.iter().copied().chain([""]) {
        health.set_service_status(service, status).await;
    }
}
