//! The benchmarks: each measures the shop beside its ceiling and its best peer in one run, and prints the ratios.
//!
//! The shop is a process of its own (this program, run a second time; see [`server`]) on a new folder with the
//! embedded engines, unless a benchmark names others; the callers are threads of this one and come over loopback, with
//! real HTTP/2 and real tokens.
//! A figure without its machine means nothing, so every report begins with it. A benchmark is never a test: it
//! prints whether a goal is met and ends well either way, and fails only when it could not measure what it says.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that cannot go on has failed")]

mod again;
mod bare_log;
mod caller;
mod desk;
mod echo;
mod esdb;
mod fan_out;
mod flood;
mod goods;
mod hot;
mod lifecycle;
mod load;
mod machine;
mod memory;
mod order;
mod overload;
mod postgres;
mod protocol;
mod redis;
mod relay;
mod report;
mod server;
mod shop_postgres;
mod uma;
mod views_postgres;
mod wire;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

use report::Report;

/// The longest warm-up before a measurement.
const WARM_UP_MAX: Duration = Duration::from_secs(2);

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// An RPC that does nothing, of an order's sizes: the ceiling.
    Echo,
    /// Orders of one line over 10,000 SKUs, to the durable answer "reserved".
    Order,
    /// 256 buyers on one SKU.
    HotSku,
    /// 256 buyers on one coupon.
    HotCoupon,
    /// Orders from placed to delivered.
    Lifecycle,
    /// Five times the load that the shop can carry.
    Overload,
    /// Bytes per claim, per open order, per event.
    Memory,
    /// Orders of a shop on PostgreSQL, beside PostgreSQL alone.
    OrderPostgres,
    /// 256 buyers on one coupon of a shop on PostgreSQL, beside PostgreSQL alone; then of two shop processes.
    HotCouponPostgres,
    /// Folding a log into views on PostgreSQL, beside COPY of what comes out.
    ViewsPostgres,
    /// Publishing a log to NATS, beside a bare publisher.
    Relay,
    /// From an acknowledged order to a subscriber of NATS, at 1,000 orders a second.
    FanOut,
    /// A bare log over the EventStoreDB protocol, beside UmaDB.
    Protocol,
    /// All of them.
    All,
}

impl Name {
    const EACH: [Self; 13] = [
        Self::Echo,
        Self::Order,
        Self::HotSku,
        Self::HotCoupon,
        Self::Lifecycle,
        Self::Overload,
        Self::Memory,
        Self::OrderPostgres,
        Self::HotCouponPostgres,
        Self::ViewsPostgres,
        Self::Relay,
        Self::FanOut,
        Self::Protocol,
    ];

    fn measure(self, settings: &Settings) -> Report {
        match self {
            Self::Echo => echo::measure(settings),
            Self::Order => order::measure(settings),
            Self::HotSku => hot::sku(settings),
            Self::HotCoupon => hot::coupon(settings),
            Self::Lifecycle => lifecycle::measure(settings),
            Self::Overload => overload::measure(settings),
            Self::Memory | Self::All => memory::measure(settings),
            Self::OrderPostgres => shop_postgres::order(settings),
            Self::HotCouponPostgres => shop_postgres::coupon(settings),
            Self::ViewsPostgres => views_postgres::measure(settings),
            Self::Relay => relay::measure(settings),
            Self::FanOut => fan_out::measure(settings),
            Self::Protocol => protocol::measure(settings),
        }
    }
}

/// Measures the shop side by side with its ceiling and its peers, and prints the ratios.
#[derive(Debug, Parser)]
#[command(name = "cargo benchmarks")]
struct Args {
    /// What to measure.
    #[arg(value_enum, required = true)]
    names: Vec<Name>,
    /// How long each measurement takes, after a warm-up of up to 2 seconds.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// How many callers wait for an answer at any time.
    #[arg(long, value_name = "N", default_value_t = 256)]
    callers: usize,
    /// Where the measured stores lie, each in a new folder; it must be on a real disk [default: the system's
    /// folder for temporary files].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Prints one line of JSON per benchmark.
    #[arg(long)]
    json: bool,
    /// What `cargo bench` says to every program that it runs.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What every benchmark is told.
#[derive(Debug, Clone)]
struct Settings {
    time: Duration,
    warm_up: Duration,
    callers: usize,
    folder: PathBuf,
}

/// The allocator of the shop's own binary: the server that is measured is this program, run a second time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the program: the benchmarks, or (under the hidden names) the shop or the log that they measure.
fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.get(1).and_then(|name| name.to_str()) {
        Some(server::SERVE) => return server::serve(&args[2..]),
        Some(bare_log::SERVE) => return bare_log::serve(&args[2..]),
        _ => {}
    }
    let args = Args::parse_from(args);
    let time = Duration::from_secs(args.seconds.max(1));
    let settings = Settings {
        time,
        warm_up: time.min(WARM_UP_MAX),
        callers: args.callers.max(1),
        folder: args.folder.unwrap_or_else(std::env::temp_dir),
    };
    let names = if args.names.contains(&Name::All) { Name::EACH.to_vec() } else { args.names };
    // Looked at once: what one benchmark leaves in the load average is not somebody else's load.
    let machine = machine::Machine::look(&settings.folder);
    for name in names {
        let report = name.measure(&settings);
        if args.json {
            println!("{}", report.json(&machine));
        } else {
            println!("{}", report.table(&machine));
        }
    }
    ExitCode::SUCCESS
}
