//! NATS starts with JetStream, keeps what it stores over a restart, and forgets it in a wipe.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use servers::{
    nats::{Nats, Options},
    or_not_run,
};

/// Asks the server in its own protocol, without a client library. What it answered, if it did.
fn ask(server: &Nats, subject: &str, payload: &str) -> Option<String> {
    let mut socket = TcpStream::connect(server.url().trim_start_matches("nats://")).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let question = format!("PUB {subject} answer {}\r\n{payload}\r\n", payload.len());
    write!(socket, "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n{question}").ok()?;
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);
    lines.find(|line| line.starts_with("MSG "))?;
    lines.next()
}

#[test]
fn a_restart_keeps_what_is_stored_and_a_wipe_does_not() {
    let options = Options { own: true, durable: true, ..Options::default() };
    let Some(mut server) = or_not_run(Nats::start(options)) else { return };
    let made = ask(&server, "$JS.API.STREAM.CREATE.S", r#"{"name":"S","subjects":["s"]}"#).unwrap();
    assert!(made.contains("\"created\""), "{made}");
    let known = |server: &Nats| ask(server, "$JS.API.STREAM.INFO.S", "").unwrap().contains("\"created\"");
    for immediate in [false, true] {
        server.restart(immediate).unwrap();
        assert!(known(&server), "what is stored survives a restart");
    }
    server.freeze();
    assert_eq!(ask(&server, "$JS.API.STREAM.INFO.S", ""), None, "a frozen server says nothing");
    server.thaw();
    assert!(known(&server));
    server.wipe().unwrap();
    assert!(!known(&server), "a wiped server knows nothing");
}
