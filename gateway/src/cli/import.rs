//! `cartulary import`: a retailer's real invoice lines, replayed through the gateway as commands.
//!
//! Reading and understanding the file is pure ([`row`], [`classify`], [`matching`], [`plan`]) and done before the
//! first request: what has to be done depends on the file alone. Sending it ([`replay`]) goes through the public
//! API like any other client's requests. In the end every row of the file is sold, returned, or refused with a
//! reason, the report says how many of each, and the command fails unless they sum to the file.
//!
//! Running it again does nothing twice: every request id derives from the content of the file (see [`names`]), as
//! long as the token belongs to the same member.

pub mod classify;
mod journal;
pub mod matching;
pub mod names;
pub mod plan;
pub mod replay;
pub mod report;
pub mod row;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
};

use domain::ids::OrderId;
use flate2::bufread::MultiGzDecoder;

use self::{plan::Plan, report::Report};
use super::{client, progress::Progress};

/// What `import` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cartulary import --orders orders.csv.gz --rejects refused.csv
  cartulary import --orders orders.csv.gz --limit 100           a taste
  cartulary import --orders orders.csv.gz --resume-file done    goes on where it was cut off

Every row ends as sold, returned or refused with a reason, and the classes sum to the file. Importing the same file again
does nothing twice.")]
pub(super) struct Args {
    /// The invoice lines: CSV with the columns InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice,
    /// CustomerID and Country; plain or gzip.
    #[arg(long, value_name = "FILE")]
    orders: PathBuf,
    #[command(flatten)]
    shop: client::Address,
    /// How many requests are under way at once.
    #[arg(long, value_name = "N", default_value_t = 64)]
    parallel: usize,
    /// Only the first N invoices and credit notes, in the order of time.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Remembers here what is done, so that an interrupted import goes on where it was.
    #[arg(long, value_name = "FILE")]
    resume_file: Option<PathBuf>,
    /// Writes the refused rows here as CSV: line, reason, detail.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Prints the report as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// How a plan is replayed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The shop's address, e.g. `http://127.0.0.1:50051`.
    pub endpoint: String,
    /// An operator's token.
    pub token: String,
    /// How many requests are under way at once.
    pub parallel: usize,
    /// Only so many tasks of the plan.
    pub limit: Option<usize>,
    /// The journal, if one is kept.
    pub resume_file: Option<PathBuf>,
}

/// Why an import ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of orders cannot be read, or is none.
    #[error("{path}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        source: row::FileError,
    },
    /// Another file cannot be read or written.
    #[error("{path}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The shop cannot be asked, or cannot go on.
    #[error("the import stopped; run the same command again to go on")]
    Shop(#[from] client::Error),
    /// The journal cannot be read or written.
    #[error("the journal {path}")]
    Journal {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The journal is about another file, or is none.
    #[error("{path} is not the journal of this file of orders; name another --resume-file")]
    JournalOfAnother {
        /// The file.
        path: String,
    },
    /// The journal is about another shop.
    #[error("this shop does not know order {order} of the journal; name another --resume-file")]
    JournalOfAnotherShop {
        /// An order of the journal.
        order: OrderId,
    },
    /// Rows are unaccounted for.
    #[error("the classes do not sum to the file")]
    Incomplete,
}

/// Runs the command.
pub(super) async fn run(args: Args) -> Result<(), super::Error> {
    Ok(import(args).await?)
}

async fn import(args: Args) -> Result<(), Error> {
    let token = args.shop.token()?;
    let plan = read(&args.orders)?;
    let settings = Settings {
        endpoint: args.shop.endpoint,
        token,
        parallel: args.parallel,
        limit: args.limit,
        resume_file: args.resume_file,
    };
    let report = replay::replay(&plan, &settings, &Progress::on_stderr()).await?;
    tell(&report, args.rejects.as_deref(), args.json)?;
    if report.complete { Ok(()) } else { Err(Error::Incomplete) }
}

/// Plans the replay of a file, plain or gzip.
///
/// # Errors
/// [`Error::File`] or [`Error::Io`].
pub fn read(path: &Path) -> Result<Plan, Error> {
    let mut file = BufReader::new(File::open(path).map_err(|source| io_error(path, source))?);
    let begins = file.fill_buf().map_err(|source| io_error(path, source))?;
    // What it is, its first bytes say, whatever it is called.
    let plan = if begins.starts_with(&[0x1f, 0x8b]) {
        plan::plan(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        plan::plan(file)
    };
    plan.map_err(|source| Error::File { path: path.display().to_string(), source })
}

fn tell(report: &Report, rejects: Option<&Path>, json: bool) -> Result<(), Error> {
    if let Some(path) = rejects {
        let written = File::create(path).and_then(|file| report.write_rejects(io::BufWriter::new(file)));
        written.map_err(|source| io_error(path, source))?;
    } else if !json && report.refused > 0 {
        eprintln!("{} rows were refused; see which with --rejects FILE", report::grouped(report.refused));
    }
    let mut out = io::stdout().lock();
    let written = if json {
        serde_json::to_writer(&mut out, report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        writeln!(out, "{report}")
    };
    written.map_err(|source| io_error(Path::new("standard output"), source))
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}
