//! A network between a node and a server, or a node and another: it holds what goes one way or both, and resets what is connected.
//!
//! What is held is not lost: once healed it arrives, also when its sender has long given up and closed. That is how
//! networks do it, and what makes an append land after its caller was told that nobody knows.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};

/// Bytes that are taken from a sender at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// How long the listener rests when the system refuses a connection.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What does not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything does.
    None,
    /// What the node says.
    Asking,
    /// What the server says.
    Answering,
    /// Anything.
    Both,
}

impl Cut {
    const fn holds(self, way: Self) -> bool {
        matches!(self, Self::Both)
            || matches!((self, way), (Self::Asking, Self::Asking) | (Self::Answering, Self::Answering))
    }
}

/// What happens on the network now.
#[derive(Debug, Clone, Copy)]
struct Weather {
    cut: Cut,
    /// Connections of earlier generations are reset.
    generation: u64,
}

/// The way from one node to one server.
pub struct Proxy {
    /// Where the node finds it.
    pub addr: SocketAddr,
    port: Arc<AtomicU16>,
    asked: Arc<AtomicU64>,
    weather: Arc<watch::Sender<Weather>>,
    _listening: JoinSet<()>,
}

impl Proxy {
    /// A way to the server that listens on `port` of the loopback.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let weather = Arc::new(watch::Sender::new(Weather { cut: Cut::None, generation: 0 }));
        let (port, asked) = (Arc::new(AtomicU16::new(port)), Arc::default());
        let mut listening = JoinSet::new();
        let way = Way { port: Arc::clone(&port), asked: Arc::clone(&asked), weather: weather.subscribe() };
        listening.spawn(listen(listener, way));
        Self { addr, port, asked, weather, _listening: listening }
    }

    /// How many bytes have been asked of the server so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// From now on new connections are led to another port: a server that was started again listens elsewhere.
    pub fn lead_to(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Holds what goes this way from now on; [`Cut::None`] heals.
    pub fn cut(&self, cut: Cut) {
        self.weather.send_modify(|weather| weather.cut = cut);
    }

    /// Resets every connection.
    pub fn reset(&self) {
        self.weather.send_modify(|weather| weather.generation += 1);
    }
}

async fn listen(listener: TcpListener, way: Way) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((node, _)) => drop(connections.spawn(connect(node, way.clone()))),
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// What the connections of one way share.
#[derive(Clone)]
struct Way {
    port: Arc<AtomicU16>,
    asked: Arc<AtomicU64>,
    weather: watch::Receiver<Weather>,
}

/// One connection, until one side has closed it for good or it is reset.
async fn connect(node: TcpStream, way: Way) {
    let generation = way.weather.borrow().generation;
    let mut reset = way.weather.clone();
    let carried = async {
        // A first word that does not get through finds nobody.
        passable(way.weather.clone(), Cut::Asking).await;
        let port = way.port.load(Ordering::Relaxed);
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        let _fast = (node.set_nodelay(true), server.set_nodelay(true));
        let ((asks, is_told), (answers, is_asked)) = (node.into_split(), server.into_split());
        let asking = carry(asks, is_asked, &way, Cut::Asking);
        let answering = carry(answers, is_told, &way, Cut::Answering);
        tokio::join!(asking, answering);
    };
    tokio::select! {
        () = carried => {}
        _ = reset.wait_for(|now| now.generation != generation) => {}
    }
}

/// Carries one way until its sender has closed or its receiver is gone.
async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, way: &Way, direction: Cut) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        passable(way.weather.clone(), direction).await;
        if read == 0 || to.write_all(&chunk[..read]).await.is_err() {
            // Dropping the half tells its receiver that nothing more comes.
            return;
        }
        if direction == Cut::Asking {
            way.asked.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}

/// Waits until something gets through this way.
async fn passable(mut weather: watch::Receiver<Weather>, way: Cut) {
    // An error means that the test is over.
    let _over = weather.wait_for(|now| !now.cut.holds(way)).await;
}
