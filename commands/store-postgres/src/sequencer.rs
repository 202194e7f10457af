//! The one task of a process that writes: takes everything that waits, writes it as one group, answers all.

use std::sync::Arc;

use jiff::Timestamp;
use ports::{
    clock::Clock,
    store::{Append, Error, Position},
};
use ports_postgres::{Param, Server, Trouble};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    Limits,
    checksum::Columns,
    plan::{Answer, At, Known, Place, Plan, Write},
    read::{LOOK_UP, sql},
    wire::{Json, Micros},
};

/// The one call that writes; see the function in `schema/1.sql`.
const APPEND: &str = "SELECT cartulary.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// A batch and where its answer goes.
pub struct Job {
    /// What to write.
    pub batch: Vec<Append>,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Vec<Answer>, Error>>,
    /// Since when it waits.
    pub since: Instant,
}

/// What the task works with.
pub struct Sequencer {
    /// Where the batches come from; when it closes, the task ends.
    pub queue: mpsc::Receiver<Job>,
    /// The one connection that writes.
    pub writer: Server,
    /// Where streams and ids are looked up, with the patience of an append.
    pub readers: Server,
    /// Where the newest position that this process knows of is shown.
    pub head: Arc<watch::Sender<Position>>,
    /// Dates the events.
    pub clock: Arc<dyn Clock>,
    /// The bounds.
    pub limits: Limits,
    /// Whether the last group was not written.
    pub failing: bool,
}

impl Sequencer {
    /// Works until the queue is closed and empty.
    pub async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            // Those who were just answered have their next batch ready in a moment. Without this the first of them would be a
            // group of its own, and the others wait for its commit.
            tokio::task::yield_now().await;
            let group = self.gather(first);
            let (late, group): (Vec<Job>, Vec<Job>) =
                group.into_iter().partition(|job| job.since.elapsed() > self.limits.append_max);
            for job in late {
                let why = format!("it waited longer than {:?} for its turn", self.limits.append_max);
                drop(job.answer.send(Err(Error::Unavailable(why))));
            }
            self.serve(group).await;
        }
    }

    /// Takes what waits, up to the limits.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let (mut events, mut bytes) = weigh(&first.batch);
        let mut group = vec![first];
        while events < self.limits.group_events_max && bytes < self.limits.group_bytes_max {
            let Ok(job) = self.queue.try_recv() else { break };
            let more = weigh(&job.batch);
            events += more.0;
            bytes += more.1;
            group.push(job);
        }
        group
    }

    /// Writes and answers a group. One batch that can never be written must not fail its neighbours: then each is written
    /// by itself.
    async fn serve(&mut self, group: Vec<Job>) {
        let appends: Vec<&Append> = group.iter().flat_map(|job| &job.batch).collect();
        match self.write(&appends).await {
            Ok(answers) => {
                answer(group, answers);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("appends are written again");
                }
            }
            Err(Failure { is_bad_input: true, .. }) if group.len() > 1 => {
                for job in group {
                    let appends: Vec<&Append> = job.batch.iter().collect();
                    let written = self.write(&appends).await.map_err(|failure| failure.error);
                    drop(job.answer.send(written));
                }
            }
            Err(Failure { error, .. }) => {
                // Once an outage, not once a group.
                match std::mem::replace(&mut self.failing, true) {
                    false => tracing::warn!(%error, "appends fail"),
                    true => tracing::debug!(%error, "appends fail"),
                }
                group.into_iter().for_each(|job| drop(job.answer.send(Err(error.clone()))));
            }
        }
    }

    /// Writes the appends in one transaction and answers them in order, when they are durable.
    async fn write(&self, appends: &[&Append]) -> Result<Vec<Answer>, Failure> {
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        let mut plan = Plan::make(appends, Known::default());
        for _ in 0..self.limits.rounds_max {
            if !plan.is_guess() {
                if plan.writes.is_empty() {
                    return Ok(plan.answers(Position::START));
                }
                if let Some(base) = self.call(&plan).await? {
                    let newest = Position(base.0 + plan.writes.len() as u64);
                    self.head.send_if_modified(|head| {
                        newest > *head && {
                            *head = newest;
                            true
                        }
                    });
                    return Ok(plan.answers(base));
                }
            }
            plan = Plan::make(appends, self.look_up(appends).await?);
        }
        let rounds = self.limits.rounds_max;
        Err(Error::Unavailable(format!("other processes were faster {rounds} times")).into())
    }

    /// Writes what the plan says if its beliefs hold; the position before its first event.
    async fn call(&self, plan: &Plan<'_>) -> Result<Option<Position>, Failure> {
        let (names, lengths): (Vec<&str>, Vec<i64>) =
            plan.lengths.iter().map(|(name, length)| (*name, sql(*length))).unzip();
        let now = self.clock.now();
        let rows = Rows::of(&plan.writes, now);
        let now = Micros(now.as_microsecond());
        let params: [Param<'_>; 11] = [
            &names,
            &lengths,
            &rows.streams,
            &rows.revisions,
            &rows.ids,
            &rows.checksums,
            &rows.kinds,
            &rows.datas,
            &rows.metadatas,
            &rows.times,
            &now,
        ];
        // Whatever fails until the statement is prepared has written nothing.
        let client = self.writer.prepared(APPEND).await.map_err(|trouble| trouble.of_read())?;
        let rows = self.writer.call(client, APPEND, &params).await?;
        let base: Option<i64> = rows.first().and_then(|row| row.get(0));
        Ok(base.map(|base| Position(base.cast_unsigned())))
    }

    /// What the log says about the streams and ids of the appends, at one moment: what is not found by its id is in none of
    /// the lengths.
    async fn look_up<'a>(&self, appends: &[&'a Append]) -> Result<Known<'a>, Failure> {
        let mut names: Vec<&'a str> = appends.iter().map(|append| append.stream.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let ids: Vec<Uuid> = appends.iter().flat_map(|append| &append.events).map(|event| event.id).collect();
        let asked = |trouble: Trouble| Failure { is_bad_input: trouble.is_bad_input(), error: trouble.of_read() };
        let rows = self.readers.query(LOOK_UP, &[&names, &ids]).await.map_err(asked)?;
        let mut known = Known { looked_up: true, ..Known::default() };
        for row in &rows {
            let (id, stream, revision): (Option<Uuid>, &str, i64) = (row.get(0), row.get(1), row.get(2));
            let revision = revision.cast_unsigned();
            if let Some(id) = id {
                let at = At::Stored(Position(row.get::<_, i64>(3).cast_unsigned()));
                known.places.insert(id, Place { stream: stream.to_owned().into(), revision, at });
            } else if let Ok(n) = names.binary_search(&stream) {
                known.lengths.insert(names[n], revision);
            }
        }
        Ok(known)
    }
}

/// Events as the function takes them: an array for each column.
#[derive(Default)]
struct Rows<'a> {
    streams: Vec<&'a str>,
    revisions: Vec<i64>,
    ids: Vec<Uuid>,
    checksums: Vec<i32>,
    kinds: Vec<&'a str>,
    datas: Vec<Json<'a>>,
    metadatas: Vec<Json<'a>>,
    /// Empty, which is shorter, unless somebody brings a time.
    times: Vec<Micros>,
}

impl<'a> Rows<'a> {
    fn of(writes: &[Write<'a>], now: Timestamp) -> Self {
        let mut rows = Self::default();
        if writes.iter().any(|write| write.recorded_at.is_some()) {
            // Time never runs backward, among those either that have no time but now.
            let times = writes.iter().scan(Timestamp::MIN, |latest, write| {
                *latest = write.recorded_at.unwrap_or(now).max(*latest);
                Some(Micros(latest.as_microsecond()))
            });
            rows.times = times.collect();
        }
        for Write { stream, revision, event, .. } in writes {
            let columns = Columns {
                stream,
                revision: sql(*revision),
                id: event.id.as_bytes(),
                kind: &event.kind,
                data: &event.data,
                metadata: &event.metadata,
            };
            rows.streams.push(stream);
            rows.revisions.push(columns.revision);
            rows.ids.push(event.id);
            rows.checksums.push(columns.checksum());
            rows.kinds.push(&event.kind);
            rows.datas.push(Json(&event.data));
            rows.metadatas.push(Json(&event.metadata));
        }
        rows
    }
}

/// Why a group was not written, or may have been.
struct Failure {
    error: Error,
    is_bad_input: bool,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self { is_bad_input: trouble.is_bad_input(), error: trouble.of_write() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, is_bad_input: false }
    }
}

fn weigh(batch: &[Append]) -> (usize, usize) {
    let events = batch.iter().flat_map(|append| &append.events);
    events.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.data.len() + event.metadata.len()))
}

/// Gives each batch its part of the group's answers. Whoever no longer waits has its events all the same.
fn answer(group: Vec<Job>, answers: Vec<Answer>) {
    let mut answers = answers.into_iter();
    for job in group {
        let own = answers.by_ref().take(job.batch.len()).collect();
        drop(job.answer.send(Ok(own)));
    }
}
