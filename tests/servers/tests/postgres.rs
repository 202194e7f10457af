//! A server starts, is frozen, crashes and recovers, and dies with the process that started it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use postgres::{Client, NoTls};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
    ready,
};

/// In the environment of the process that is to be killed.
const VICTIM: &str = "CARTULARY_SERVERS_VICTIM";
/// How long what is expected may take.
const SOON: Duration = Duration::from_secs(30);

fn own() -> Option<Postgres> {
    or_not_run(Postgres::start(Options { own: true, ..Options::default() }))
}

#[test]
fn databases_are_each_ones_own_and_survive_a_crash() {
    let Some(mut server) = own() else { return };
    let (one, other) = (server.fresh_database().unwrap(), server.fresh_database().unwrap());
    assert_ne!(one, other);
    Client::connect(&one, NoTls).unwrap().batch_execute("CREATE TABLE t AS SELECT 7 AS n").unwrap();
    server.restart(true).unwrap();
    let n: i32 = Client::connect(&one, NoTls).unwrap().query_one("SELECT n FROM t", &[]).unwrap().get(0);
    assert_eq!(n, 7);
    assert!(Client::connect(&other, NoTls).unwrap().query_one("SELECT n FROM t", &[]).is_err());
}

#[test]
fn a_frozen_server_says_nothing_until_it_is_thawed() {
    let Some(server) = own() else { return };
    let url = server.fresh_database().unwrap();
    let mut client = Client::connect(&url, NoTls).unwrap();
    server.freeze();
    let (answered, answer) = std::sync::mpsc::channel();
    let asking = std::thread::spawn(move || {
        let asked = client.query_one("SELECT 1", &[]).is_ok();
        answered.send(asked).unwrap();
    });
    assert!(answer.recv_timeout(Duration::from_millis(300)).is_err(), "a frozen server does not answer");
    server.thaw();
    assert!(answer.recv_timeout(SOON).unwrap());
    asking.join().unwrap();
}

#[test]
fn a_server_dies_with_the_process_that_started_it_even_a_killed_one() {
    if std::env::var_os(VICTIM).is_some() {
        return;
    }
    let Some(server) = own() else { return };
    drop(server);
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "the_victim_keeps_a_server", "--nocapture"]).env(VICTIM, "1");
    let mut victim = victim.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("SERVER ")?.1.to_owned())).unwrap();
    let running = Path::new("/proc").join(said.trim());
    assert!(running.exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let dead = || fs::read_to_string(running.join("stat")).is_ok_and(|stat| stat.contains(") Z ")) || !running.exists();
    assert!(ready(SOON, dead), "the server outlived its owner");
}

/// Not a test by itself: see the one above.
#[test]
fn the_victim_keeps_a_server() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let server = own().unwrap();
    println!("SERVER {}", server.process().id());
    std::thread::sleep(Duration::from_secs(600));
}
