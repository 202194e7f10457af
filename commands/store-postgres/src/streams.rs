//! Short reads of streams, many in one query: whoever asks while others are being answered shares the next one.
//!
//! A desk whose log others write, too, looks at a stream before it refuses anything on what it remembers. Nearly always
//! there is nothing new, so what such a look costs is the asking.

use futures::{StreamExt as _, stream::FuturesUnordered};
use ports::store::{Error, Recorded, Revision};
use ports_postgres::Server;
use tokio::sync::{mpsc, oneshot};

use crate::read::{self, sql};

/// How many events of a stream a short read has room for: what another process wrote at once.
pub const FEW: usize = 64;
/// How many reads share a query. All queries together hold no more events than as many long reads as there are connections.
const SHARE_MAX: usize = 32;
/// How many queries are under way: while some are answered, the next one fills.
const QUERIES_MAX: usize = 4;

/// A read, and where its answer goes.
pub struct Ask {
    /// Which stream.
    pub stream: String,
    /// From where on.
    pub from: Revision,
    /// How many events at most; no more than [`FEW`].
    pub limit: usize,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Vec<Recorded>, Error>>,
}

/// What the task works with.
pub struct Streams {
    /// Where the reads come from; when it closes, the task ends.
    pub queue: mpsc::Receiver<Ask>,
    /// The connections that read, with the patience of an append: others wait behind a query.
    pub readers: Server,
}

impl Streams {
    /// Works until the queue is closed and everybody is answered.
    pub async fn run(mut self) {
        let (mut queries, mut asked, mut open) = (FuturesUnordered::new(), Vec::new(), true);
        while open || !queries.is_empty() {
            tokio::select! {
                biased;
                Some(()) = queries.next() => {}
                taken = self.queue.recv_many(&mut asked, SHARE_MAX), if open && queries.len() < QUERIES_MAX => {
                    match taken {
                        0 => open = false,
                        _ => queries.push(answer(&self.readers, std::mem::take(&mut asked))),
                    }
                }
            }
        }
    }
}

/// Answers all who still wait by one query.
async fn answer(readers: &Server, mut asked: Vec<Ask>) {
    asked.retain(|ask| !ask.answer.is_closed());
    if asked.is_empty() {
        return;
    }
    match read(readers, &asked).await {
        Ok(pages) => asked.into_iter().zip(pages).for_each(|(ask, page)| drop(ask.answer.send(page))),
        Err(error) => asked.into_iter().for_each(|ask| drop(ask.answer.send(Err(error.clone())))),
    }
}

/// A page for each who asked.
async fn read(readers: &Server, asked: &[Ask]) -> Result<Vec<Result<Vec<Recorded>, Error>>, Error> {
    let names: Vec<&str> = asked.iter().map(|ask| ask.stream.as_str()).collect();
    let from: Vec<i64> = asked.iter().map(|ask| sql(ask.from)).collect();
    let limits: Vec<i64> = asked.iter().map(|ask| sql(ask.limit as u64)).collect();
    let rows = readers.query(read::STREAMS, &[&names, &from, &limits]).await.map_err(|trouble| trouble.of_read())?;
    let mut rows = rows.as_slice();
    let page = |(ask, n): (&Ask, i64)| {
        let (own, others) = rows.split_at(rows.partition_point(|row| row.get::<_, i64>(read::STREAMS_N) <= n));
        rows = others;
        read::stream(own, &ask.stream, ask.from)
    };
    Ok(asked.iter().zip(1..).map(page).collect())
}
