//! The peer: what PostgreSQL makes of the same orders and claims, on the same disk, each commit durable.
//!
//! A server of its own in a temporary folder, driven by `pgbench` over a Unix socket with prepared statements: its
//! shortest way. Each shape is measured with few and many connections, and counts with its best.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use servers::{
    output,
    postgres::{Options, Postgres},
};
use tempfile::TempDir;

use super::{Settings, machine, report::Report};

/// With how many connections each shape is measured.
const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// More memory and more room for the log than the defaults, so that no checkpoint falls into a measurement.
pub const SETTINGS: [&str; 5] =
    ["fsync=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=16GB", "checkpoint_timeout=1h"];

/// The tables, and each shape a second time as one function.
const SCHEMA: &str = "
create table stock (sku int primary key, on_hand int not null, reserved int not null default 0) with (fillfactor = 50);
create table orders (
  id bigint generated always as identity primary key, buyer uuid not null, total bigint not null,
  state text not null, placed_at timestamptz not null default now());
create table order_lines (
  order_id bigint not null, line int not null, sku int not null, quantity int not null, unit_price bigint not null,
  primary key (order_id, line));
create table campaigns (id int primary key, quantity int not null, claimed int not null default 0)
  with (fillfactor = 50);
create table claims (campaign int not null, member uuid not null, claimed_at timestamptz not null default now(),
  primary key (campaign, member));
insert into campaigns values (1, 100000000);
create function place_order(wanted int) returns bigint language plpgsql as $$
declare placed bigint;
begin
  insert into orders (buyer, total, state) values (gen_random_uuid(), 255, 'reserved') returning id into placed;
  insert into order_lines values (placed, 1, wanted, 1, 255);
  update stock set reserved = reserved + 1 where sku = wanted and on_hand - reserved >= 1;
  if not found then raise exception 'out of stock'; end if;
  return placed;
end $$;
create function claim_coupon() returns void language plpgsql as $$
begin
  insert into claims (campaign, member) values (1, gen_random_uuid());
  update campaigns set claimed = claimed + 1 where id = 1 and claimed < quantity;
  if not found then raise exception 'sold out'; end if;
end $$;
";

/// What the peer does for one request.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Order, line and stock in one transaction, statement by statement.
    OrderTransaction,
    /// The same as one call of a function.
    OrderFunction,
    /// Claim and campaign in one transaction, statement by statement.
    ClaimTransaction,
    /// The same as one call of a function.
    ClaimFunction,
}

impl Shape {
    /// The `pgbench` script. The contended row comes last, so that it is locked for the shortest time.
    const fn script(self) -> &'static str {
        match self {
            Self::OrderTransaction => {
                "\\set sku random(1, :skus)\nbegin;\n\
                 insert into orders (buyer, total, state) values (gen_random_uuid(), 255, 'reserved') returning id \\gset\n\
                 insert into order_lines values (:id, 1, :sku, 1, 255);\n\
                 update stock set reserved = reserved + 1 where sku = :sku and on_hand - reserved >= 1;\ncommit;\n"
            }
            Self::OrderFunction => "\\set sku random(1, :skus)\nselect place_order(:sku);\n",
            Self::ClaimTransaction => {
                "begin;\ninsert into claims (campaign, member) values (1, gen_random_uuid());\n\
                 update campaigns set claimed = claimed + 1 where id = 1 and claimed < quantity;\ncommit;\n"
            }
            Self::ClaimFunction => "select claim_coupon();\n",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::OrderTransaction | Self::ClaimTransaction => "PostgreSQL, a transaction",
            Self::OrderFunction | Self::ClaimFunction => "PostgreSQL, a function call",
        }
    }
}

/// A server with the peer's tables.
pub struct Peer {
    server: Postgres,
    /// The place of the scripts.
    folder: TempDir,
}

impl Peer {
    /// Measures shapes on a server for them alone, each at its best number of connections.
    pub fn measure(settings: &Settings, skus: u64, shapes: [Shape; 2], report: &mut Report) -> [Option<f64>; 2] {
        let Some(peer) = Self::start(settings, skus, report) else { return [None; 2] };
        peer.shapes(settings, skus, shapes, report)
    }

    /// Measures shapes, each at its best number of connections.
    pub fn shapes(&self, settings: &Settings, skus: u64, shapes: [Shape; 2], report: &mut Report) -> [Option<f64>; 2] {
        shapes.map(|shape| {
            let best = self.best(settings, skus, shape, report);
            best.map_err(|why| report.not_run(shape.name(), &why)).ok()
        })
    }

    /// A new database of the same server.
    pub fn database(&self) -> String {
        self.server.fresh_database().expect("a database")
    }

    fn best(&self, settings: &Settings, skus: u64, shape: Shape, report: &mut Report) -> Result<f64, String> {
        self.bench(skus, shape, CONNECTIONS[1], settings.warm_up)?;
        let mut rates = Vec::with_capacity(CONNECTIONS.len());
        for connections in CONNECTIONS {
            rates.push((self.bench(skus, shape, connections, settings.time)?, connections));
        }
        let all = rates.iter().fold(String::new(), |mut all, (rate, connections)| {
            let comma = if all.is_empty() { "" } else { ", " };
            write!(all, "{comma}{rate:.0} with {connections}").expect("a string takes everything");
            all
        });
        let (best, connections) =
            rates.into_iter().fold((0.0, 0), |best, rate| if rate.0 > best.0 { rate } else { best });
        report.rate(format!("{}, {connections} connections", shape.name()), best, None);
        report.note(format!("{}: {all} connections", shape.name()));
        Ok(best)
    }

    /// Transactions a second.
    fn bench(&self, skus: u64, shape: Shape, connections: usize, time: Duration) -> Result<f64, String> {
        let script = self.folder.path().join("script.sql");
        fs::write(&script, shape.script()).map_err(|error| error.to_string())?;
        let mut command = self.server.client("pgbench").map_err(|why| why.to_string())?;
        command.args(["-n", "-M", "prepared", "-D", &format!("skus={skus}")]);
        command.args(["-c", &connections.to_string(), "-j", &connections.min(machine::cores()).to_string()]);
        command.args(["-T", &time.as_secs().max(1).to_string(), "-f"]).arg(script).arg("postgres");
        let said = output(&mut command).map_err(|why| why.to_string())?;
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| format!("pgbench: no rate in {said:?}"))
    }

    /// Starts a server and fills the shelves, or says in the report why there is none.
    pub fn start(settings: &Settings, skus: u64, report: &mut Report) -> Option<Self> {
        Self::filled(&settings.folder, skus).map_err(|why| report.not_run("PostgreSQL", &why)).ok()
    }

    fn filled(place: &Path, skus: u64) -> Result<Self, String> {
        let options =
            Options { durable: true, own: true, settings: &SETTINGS, place: Some(place), ..Options::default() };
        let server = Postgres::start(options).map_err(|why| why.to_string())?;
        let folder = TempDir::with_prefix_in("pgbench-", place).map_err(|error| error.to_string())?;
        let stock =
            format!("insert into stock select sku, 1000000000 from generate_series(1, {skus}) sku; checkpoint;");
        for sql in [SCHEMA, &stock] {
            let mut command = server.client("psql").map_err(|why| why.to_string())?;
            output(command.args(["-q", "-v", "ON_ERROR_STOP=1", "-c", sql, "postgres"]))
                .map_err(|why| why.to_string())?;
        }
        Ok(Self { server, folder })
    }
}
