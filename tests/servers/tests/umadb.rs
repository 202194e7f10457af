//! UmaDB starts, speaks HTTP/2, and is gone with its value.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use servers::{or_not_run, umadb::UmaDb};

#[test]
fn it_speaks_http_2_until_it_is_dropped() {
    let Some(server) = or_not_run(UmaDb::start(None)) else { return };
    let port = server.port();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The client's preface and its empty settings; the server answers with its own.
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    let mut frame = [0; 9];
    socket.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "the first frame is of settings: {frame:?}");
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
}
