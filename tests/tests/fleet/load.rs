//! The load: sixteen buyers who never give up on a request before it is answered.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::v1;
use tests::{
    client::{Client, reason},
    shop::buyer,
};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Code, Response, Status};

use crate::books::{Answer, Books};

/// Buyers at the same time.
pub const BUYERS: usize = 16;
/// How many gateways there are.
pub const GATES: usize = 2;
/// Where an order can be asked for: at the gateways, and behind them at the nodes that decide.
pub const DOORS: usize = GATES + 2;
/// How long a buyer waits for an answer before the other gateway is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a buyer rests between two orders, and before the same one is sent again.
const PAUSE: Duration = Duration::from_millis(100);
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where the doors are now; a node that was started again listens elsewhere.
#[derive(Default)]
pub struct Doors([Mutex<Option<SocketAddr>>; DOORS]);

impl Doors {
    /// Says where a node listens, if it does.
    pub fn set(&self, door: usize, addr: Option<SocketAddr>) {
        *self.0[door].lock().unwrap_or_else(PoisonError::into_inner) = addr;
    }

    fn get(&self, door: usize) -> Option<SocketAddr> {
        *self.0[door].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One buyer, with a connection to each door.
pub struct Buyer {
    n: usize,
    token: String,
    doors: Arc<Doors>,
    clients: [Option<(SocketAddr, Client)>; DOORS],
    /// The newest order that was acknowledged.
    newest: Option<String>,
}

impl Buyer {
    /// The `n`-th.
    pub fn new(n: usize, token: String, doors: &Arc<Doors>) -> Self {
        Self { n, token, doors: Arc::clone(doors), clients: [const { None }; DOORS], newest: None }
    }

    /// Buys until told to stop.
    async fn shop(mut self, books: Arc<Books>, stop: watch::Receiver<bool>) {
        let home = self.n % GATES;
        while !*stop.borrow() {
            let request = books.wish(self.n);
            let mut door = home;
            loop {
                let epoch = books.attempt();
                let answer = self.ask(door, &request).await;
                if let Answer::Given(given) = &answer {
                    self.newest = Some(given.order_id.clone());
                }
                if let Some(failed) = self.look(door).await {
                    books.failed(failed);
                }
                let answered = !matches!(answer, Answer::Missing(_) | Answer::Failed(_));
                books.answered(&request, answer, epoch, door);
                if answered {
                    break;
                }
                if *stop.borrow() {
                    return;
                }
                door = (door + 1) % GATES;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks at the newest order, whatever became of the last request. Answers what a node should never say.
    async fn look(&mut self, door: usize) -> Option<String> {
        let order_id = self.newest.clone()?;
        let client = self.client(door).await?;
        let mut message = tonic::Request::new(v1::GetOrderRequest { order_id, min_position: 0 });
        message.set_timeout(PATIENCE);
        let status = tokio::time::timeout(PATIENCE, client.orders.get_order(message)).await.ok()?.err()?;
        match refusal(&status) {
            Answer::Failed(why) => Some(format!("a look: {why}")),
            _ => None,
        }
    }

    /// Sends a request to a node.
    pub async fn ask(&mut self, door: usize, request: &v1::ProcessOrderRequest) -> Answer {
        let Some(client) = self.client(door).await else { return Answer::Missing("nobody listens".to_owned()) };
        let mut message = tonic::Request::new(request.clone());
        message.set_timeout(PATIENCE);
        let asked = tokio::time::timeout(PATIENCE, client.orders.process_order(message)).await;
        match asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing was heard in time"))) {
            Ok(answer) => Answer::Given(Box::new(Response::into_inner(answer))),
            Err(status) => {
                let refused = refusal(&status);
                if status.details().is_empty() {
                    // Not the shop's own word: the connection may be broken.
                    self.clients[door] = None;
                }
                refused
            }
        }
    }

    async fn client(&mut self, door: usize) -> Option<&mut Client> {
        let addr = self.doors.get(door)?;
        if self.clients[door].as_ref().is_none_or(|(known, _)| *known != addr) {
            let member = buyer(self.n as u64);
            let connected = tokio::time::timeout(PATIENCE, Client::try_connect(addr, member, &self.token)).await;
            self.clients[door] = connected.ok().flatten().map(|client| (addr, client));
        }
        self.clients[door].as_mut().map(|(_, client)| client)
    }
}

/// What a status means to a buyer.
fn refusal(status: &Status) -> Answer {
    let again = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
    if status.details().is_empty() || again {
        return Answer::Missing(format!("{:?}: {}", status.code(), status.message()));
    }
    match (status.code(), reason(status)) {
        // A buyer who believes it gives up; ours ask again, and it is counted.
        (Code::Internal, reason) => Answer::Failed(format!("{reason}: {}", status.message())),
        (Code::FailedPrecondition, reason) => Answer::Refused(reason),
        (code, reason) => Answer::Wrong(format!("{code:?} {reason}: {}", status.message())),
    }
}

/// All buyers at work.
pub struct Load {
    buyers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Lets them begin.
    pub fn begin(tokens: &[String], doors: &Arc<Doors>, books: &Arc<Books>) -> Self {
        let stop = watch::Sender::new(false);
        let mut buyers = JoinSet::new();
        for (n, token) in tokens.iter().enumerate() {
            let buyer = Buyer::new(n, token.clone(), doors);
            buyers.spawn(buyer.shop(Arc::clone(books), stop.subscribe()));
        }
        Self { buyers, stop }
    }

    /// Lets them finish what they are asking; nothing is bought afterwards.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.buyers.join_next().await {
            ended.expect("a buyer never fails");
        }
    }
}
