//! The other peer: a claim as a Lua script in Redis, each one on disk before it is answered.
//!
//! It is the design that many shops begin with: the counter in Redis, the ledger somewhere else, and nothing that
//! keeps the two together in a crash. Here it has only the counter to keep, at its best.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use servers::{free_port, output};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Settings, report::Report};

/// Requests to learn from how many fill the time.
const TRIAL: u64 = 20_000;
/// Members and orders are drawn from so many.
const SPACE: &str = "2000000000";
/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is claimed.
#[derive(Debug, Clone, Copy)]
pub enum Claim {
    /// A unit of one SKU, held for an order until a time.
    Unit,
    /// A coupon of one campaign, one for each member.
    Coupon,
}

impl Claim {
    const fn script(self) -> &'static str {
        match self {
            Self::Unit => {
                "if tonumber(redis.call('GET', KEYS[1])) < 1 then return 0 end \
                 redis.call('DECR', KEYS[1]) redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) return 1"
            }
            Self::Coupon => {
                "if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return -1 end \
                 if tonumber(redis.call('GET', KEYS[1])) < 1 then return 0 end \
                 redis.call('DECR', KEYS[1]) redis.call('SADD', KEYS[2], ARGV[1]) return 1"
            }
        }
    }
}

/// A server that goes with this value.
pub struct Redis {
    child: Child,
    port: String,
    /// Kept until the server is gone.
    _folder: TempDir,
}

impl Redis {
    /// Measures claims a second.
    pub fn measure(settings: &Settings, claim: Claim, report: &mut Report) -> Option<f64> {
        let measured = Self::start(&settings.folder).and_then(|server| server.claims(settings, claim));
        match measured {
            Ok(rate) => {
                let callers = settings.callers;
                report.rate(format!("Redis, a Lua claim, appendfsync always, {callers} connections"), rate, None);
                Some(rate)
            }
            Err(why) => {
                report.not_run("Redis", &why);
                None
            }
        }
    }

    fn start(place: &Path) -> Result<Self, String> {
        let folder = TempDir::with_prefix_in("redis-", place).map_err(|error| error.to_string())?;
        let port = free_port().map_err(|why| why.to_string())?.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--maxclients", "10000"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self { child: child.map_err(|error| format!("redis-server: {error}"))?, port, _folder: folder };
        let begun = Instant::now();
        while server.say(&["PING"]).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("its server does not start".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn say(&self, words: &[&str]) -> Result<String, String> {
        output(Command::new("redis-cli").args(["-e", "-p", &self.port]).args(words)).map_err(|why| why.to_string())
    }

    fn claims(&self, settings: &Settings, claim: Claim) -> Result<f64, String> {
        self.say(&["SET", "left", "1000000000"])?;
        let script = self.say(&["SCRIPT", "LOAD", claim.script()])?;
        let trial = self.bench(settings, script.trim(), TRIAL)?;
        let requests = (trial * settings.time.as_secs_f64()) as u64;
        self.bench(settings, script.trim(), requests.max(TRIAL))
    }

    fn bench(&self, settings: &Settings, script: &str, requests: u64) -> Result<f64, String> {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &self.port, "-c", &settings.callers.to_string(), "-n", &requests.to_string()]);
        command.args(["-r", SPACE, "--csv", "EVALSHA", script, "2", "left", "taken", "__rand_int__", "1767225600"]);
        let said = output(&mut command).map_err(|why| why.to_string())?;
        let rate = said.lines().last().and_then(|line| line.split("\",\"").nth(1)?.parse().ok());
        rate.ok_or_else(|| format!("redis-benchmark: no rate in {said:?}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _waited = self.child.wait();
    }
}
