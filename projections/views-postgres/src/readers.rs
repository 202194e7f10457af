//! Where queries go: to a replica that is far enough, else to the primary.
//!
//! Far enough means: the view stands there at least where this process has ever said that it stands, to itself or to
//! anybody who waited for it, and is not still the one that was replaced since. So whoever has seen a position finds it in every row they read afterwards, as on one
//! server. Checkpoints are replicated with the rows, in the same order; what a replica has had once it has for good, so most
//! queries ask it nothing further. A replica that is out of reach, slow or refuses is left alone for a while.

use std::{
    cmp,
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ports::store::Position;
use ports_postgres::{Address, Error, Param, Server, Trouble};
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::Limits;

/// Where no view ever stands.
const NOWHERE: Position = Position(u64::MAX);
const STANDINGS: &str = "SELECT name, position, edition FROM cartulary_views.views";

/// The servers that queries go to.
pub struct Readers {
    primary: Server,
    replicas: Vec<Replica>,
    /// Where this process knows the views to stand.
    told: Mutex<HashMap<String, Standing>>,
    /// Whose turn it is.
    next: AtomicUsize,
}

/// Where a view stands.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    position: Position,
    /// Grows when the view is replaced. Zero: nothing was said of the view yet.
    edition: i64,
}

impl Standing {
    /// Whether nothing is missing that was there at `due`.
    const fn has(self, due: Self) -> bool {
        self.position.0 >= due.position.0 && (due.edition == 0 || self.edition == due.edition)
    }
}

/// A server that follows the primary.
struct Replica {
    server: Server,
    limits: Limits,
    seen: Mutex<Seen>,
}

/// What is known of a replica.
#[derive(Default)]
struct Seen {
    /// Where its views stood at least.
    standings: HashMap<String, Standing>,
    /// Not to be asked before.
    rests_until: Option<Instant>,
    /// When its positions are to be read again at the earliest.
    look_at: Option<Instant>,
}

impl Readers {
    /// Queries go to these replicas, if there are any.
    pub fn new(primary: Server, replicas: &[Address], limits: &Limits) -> Result<Self, Error> {
        let replica = |address| {
            let server = Server::new(address, &limits.replicas())?;
            Ok(Replica { server, limits: limits.clone(), seen: Mutex::default() })
        };
        let replicas = replicas.iter().map(replica).collect::<Result<_, Error>>()?;
        Ok(Self { primary, replicas, told: Mutex::default(), next: AtomicUsize::new(0) })
    }

    /// The server that knows everything.
    pub const fn primary(&self) -> &Server {
        &self.primary
    }

    /// The view stands there, in this edition: nobody may read less from now on.
    pub fn tell(&self, view: &str, position: Position, edition: i64) {
        let mut told = lock(&self.told);
        let known = told.entry(view.to_owned()).or_default();
        match edition.cmp(&known.edition) {
            cmp::Ordering::Greater => *known = Standing { position, edition },
            cmp::Ordering::Equal => known.position = position.max(known.position),
            // Somebody asked before it was replaced, and was answered late.
            cmp::Ordering::Less => {}
        }
    }

    /// There is no such view, and a replica that still has one is not to be asked; until it is told of another edition.
    pub fn forget(&self, view: &str) {
        lock(&self.told).entry(view.to_owned()).or_default().position = NOWHERE;
    }

    /// The rows of a query about a view.
    pub async fn query(&self, view: &str, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Trouble> {
        if let Some(replica) = self.replica(view).await {
            match replica.server.query(sql, params).await {
                Ok(rows) => return Ok(rows),
                // What it merely refuses, as a standby may, concerns this query alone.
                Err(trouble) if trouble.is_disconnected() => replica.rest(&trouble),
                Err(_refused) => {}
            }
        }
        self.primary.query(sql, params).await
    }

    /// One that is far enough for this view; they take turns.
    async fn replica(&self, view: &str) -> Option<&Replica> {
        let count = self.replicas.len();
        if count == 0 {
            return None;
        }
        let due = lock(&self.told).get(view).copied().unwrap_or_default();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for n in 0..count {
            let replica = &self.replicas[first.wrapping_add(n) % count];
            if replica.has(view, due).await {
                return Some(replica);
            }
        }
        None
    }
}

impl Replica {
    /// Whether its view stands there at least, as far as is known; looks, if it was not just looked.
    async fn has(&self, view: &str, due: Standing) -> bool {
        let now = Instant::now();
        {
            let mut seen = lock(&self.seen);
            if seen.rests_until.is_some_and(|until| now < until) {
                return false;
            }
            if seen.standings.get(view).is_some_and(|standing| standing.has(due)) {
                return true;
            }
            if seen.look_at.is_some_and(|at| now < at) {
                return false;
            }
            // Whoever comes meanwhile goes to the primary.
            seen.look_at = Some(now + self.limits.replica_look_every);
        }
        match self.server.query(STANDINGS, &[]).await {
            Ok(rows) => {
                let standing = |row: &Row| {
                    let position = Position(row.get::<_, i64>(1).cast_unsigned());
                    (row.get(0), Standing { position, edition: row.get(2) })
                };
                let mut seen = lock(&self.seen);
                seen.standings = rows.iter().map(standing).collect();
                seen.standings.get(view).is_some_and(|standing| standing.has(due))
            }
            Err(trouble) => {
                self.rest(&trouble);
                false
            }
        }
    }

    /// Leaves it alone for a while; said once, however many notice.
    fn rest(&self, trouble: &Trouble) {
        let now = Instant::now();
        let mut seen = lock(&self.seen);
        if seen.rests_until.is_none_or(|until| until <= now) {
            seen.rests_until = Some(now + self.limits.replica_rest);
            tracing::warn!(%trouble, "a replica does not answer; queries go to the others");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
