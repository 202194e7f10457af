//! Loading views into PostgreSQL: the projection engine folds a log of orders, beside `COPY` of what came out.
//!
//! `COPY` is the fastest way into PostgreSQL there is, and needs to be told the rows; the engine has to read the log, fold it
//! and find out which rows those are. So both are told apart: the same rows, folded already, through the port alone. The log
//! is real: a shop makes it, each order from placed to delivered.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use ports::{
    memory::MemoryViews,
    store::{EventStore, Position},
    views::{Entry, Error, Key, Range, ViewCommit, ViewStore},
};
use postgres::{Client, NoTls};
use projections::{
    engine::{Engine, Limits},
    fold::{AnyView, view},
    views::{self, orders},
};
use servers::postgres::{Options, Postgres};
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::time::Instant;
use views_postgres::PostgresViews;

use super::{
    Settings,
    goods::{self, Orders},
    load::{self, Load},
    postgres::SETTINGS,
    report::{Goal, Report},
    server::{Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 1_000;
/// The most orders in the log: about a dozen events each.
const ORDERS_MAX: u64 = 20_000;
/// Tables that hold views' rows, and not what is known about the views.
const TABLES: &str = "
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname = 'cartulary_views' AND tablename NOT IN ('views', 'migrations') ORDER BY 1";

/// Views that are not there yet.
type Fresh = fn() -> Vec<Box<dyn AnyView>>;
/// What is loaded, and what it is called in the report.
const LOADED: [(&str, Fresh); 2] = [("the orders", || vec![view::<orders::Orders>()]), ("all views", views::all)];

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("views-postgres");
    let options =
        Options { durable: true, own: true, settings: &SETTINGS, place: Some(&settings.folder), ..Options::default() };
    let server = match Postgres::start(options) {
        Ok(server) => server,
        Err(why) => {
            report.not_run("PostgreSQL", &why.to_string());
            return report;
        }
    };
    let folder = history(settings, &mut report);
    let log = open(folder.path());
    for (what, views) in LOADED {
        let [one, other] = [(); 2].map(|()| server.fresh_database().expect("a database"));
        beside_copy(&log, [&one, &other], what, views, &mut report);
    }
    report
}

/// The log of a shop that has sold and delivered for a while.
fn history(settings: &Settings, report: &mut Report) -> TempDir {
    let mut shop = Server::start(&settings.folder, Parts::All, None, &[]);
    goods::fill(&shop, settings, SKUS);
    let load = Load { requests_max: ORDERS_MAX, ..Load::of(settings) };
    let placed = load::run(&shop, load, &Orders::paid(SKUS)).unrefused("an order");
    shop.rest();
    let events = shop.figures().head();
    report.note(format!("the log: {events} events, {} orders from placed to delivered among them", placed.total));
    shop.stop()
}

fn open(folder: &Path) -> Arc<dyn EventStore> {
    let clock = Arc::new(gateway::clock::SystemClock);
    Arc::new(SqliteStore::open(folder, clock, &store_sqlite::Limits::default()).expect("the log opens"))
}

fn beside_copy(log: &Arc<dyn EventStore>, [database, fresh]: [&str; 2], what: &str, views: Fresh, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let limits = views_postgres::Limits::default();
    let rows = Arc::new(runtime.block_on(PostgresViews::connect(database, &limits)).expect("the views open"));
    let folded = runtime.block_on(fold(log, rows, views()));
    let memory = runtime.block_on(fold(log, Arc::new(MemoryViews::new()), views()));
    let stored = runtime.block_on(store(log, fresh, views()));
    let mut tables = Tables::of(database);
    let copied = tables.copy();
    let rate = |time: Duration| load::per_second(tables.rows, time);
    report.rate(format!("{what}: rows and index entries folded into PostgreSQL"), rate(folded), None);
    report.rate(format!("{what}: the same into memory"), rate(memory), None);
    report.rate(format!("{what}: the same, folded already, through the port"), rate(stored), None);
    report.rate(format!("{what}: the same by COPY alone"), rate(copied), None);
    report.ratio(format!("{what}: stored / COPY"), rate(stored), rate(copied), Goal::Least(0.5));
    report.ratio(format!("{what}: folded into PostgreSQL / COPY"), rate(folded), rate(copied), Goal::Least(0.5));
    let (rows, bytes) = (tables.rows, tables.bytes() >> 20);
    report.note(format!("{what}: {rows} rows and index entries in the end, {bytes} MiB for COPY"));
}

/// Folds the whole log into views that are not there yet. How long it took.
async fn fold(log: &Arc<dyn EventStore>, rows: Arc<dyn ViewStore>, views: Vec<Box<dyn AnyView>>) -> Duration {
    let begun = Instant::now();
    let mut engine = Engine::new(Arc::clone(log), rows, views, Limits::default());
    while !engine.step().await.expect("the log folds").caught_up {}
    begun.elapsed()
}

/// Stores what the whole log comes to in views that are not there yet. How long that took, without the folding.
async fn store(log: &Arc<dyn EventStore>, database: &str, views: Vec<Box<dyn AnyView>>) -> Duration {
    let rows = PostgresViews::connect(database, &views_postgres::Limits::default()).await.expect("the views open");
    let timed = Arc::new(Timed { rows, taken: Mutex::default() });
    // One batch: each row is stored once, as it is in the end.
    let limits = Limits { batch_events_max: usize::MAX, ..Limits::default() };
    let mut engine = Engine::new(Arc::clone(log), Arc::clone(&timed) as Arc<dyn ViewStore>, views, limits);
    while !engine.step().await.expect("the log folds").caught_up {}
    *timed.taken.lock().expect("a time")
}

/// Measures how long commits take.
struct Timed {
    rows: PostgresViews,
    taken: Mutex<Duration>,
}

#[async_trait]
impl ViewStore for Timed {
    async fn position(&self, view: &str) -> Result<Position, Error> {
        self.rows.position(view).await
    }

    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error> {
        let begun = Instant::now();
        let done = self.rows.commit(commits).await;
        *self.taken.lock().expect("a time") += begun.elapsed();
        done
    }

    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.rows.get_many(view, keys).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        self.rows.range(range).await
    }

    async fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        self.rows.replace(view, with).await
    }

    async fn drop_view(&self, view: &str) -> Result<(), Error> {
        self.rows.drop_view(view).await
    }
}

/// The rows of the views as the tables hold them, ready for `COPY`.
struct Tables {
    client: Client,
    /// Each table's name, quoted, and its rows in PostgreSQL's own form.
    tables: Vec<(String, Vec<u8>)>,
    /// Rows and index entries.
    rows: u64,
}

impl Tables {
    /// Reads the tables of all views in a database.
    fn of(database: &str) -> Self {
        let mut client = Client::connect(database, NoTls).expect("a connection");
        let found = client.query(TABLES, &[]).expect("the names of the tables");
        let (mut tables, mut rows) = (Vec::new(), 0);
        for name in found.iter().map(|row| row.get::<_, String>(0)) {
            let count = client.query_one(&format!("SELECT count(*) FROM {name}"), &[]).expect("a count");
            rows += u64::try_from(count.get::<_, i64>(0)).expect("no less than none");
            let mut bytes = Vec::new();
            let mut out = client.copy_out(&format!("COPY {name} TO STDOUT (FORMAT binary)")).expect("a table");
            out.read_to_end(&mut bytes).expect("its rows");
            drop(out);
            tables.push((name, bytes));
        }
        Self { client, tables, rows }
    }

    fn bytes(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Copies all rows into new tables of the same shape, with the same indexes. How long that took.
    fn copy(&mut self) -> Duration {
        // Neither are the views synced at once: the log can fold them again.
        self.client.batch_execute("SET synchronous_commit = off; CREATE SCHEMA copied; CHECKPOINT").expect("a schema");
        let mut taken = Duration::ZERO;
        for (n, (name, rows)) in self.tables.iter().enumerate() {
            let like = format!("CREATE TABLE copied.t{n} (LIKE {name} INCLUDING ALL)");
            self.client.batch_execute(&like).expect("a table");
            let begun = Instant::now();
            let into = format!("COPY copied.t{n} FROM STDIN (FORMAT binary)");
            let mut writer = self.client.copy_in(&into).expect("a table");
            writer.write_all(rows).expect("rows");
            writer.finish().expect("rows");
            taken += begun.elapsed();
        }
        taken
    }
}
