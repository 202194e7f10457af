//! A server that is not what it seems: what goes through this proxy is changed on its way.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Replaces text in what a client or the server sends.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// In what the server greets with, of any length.
    Greeting { before: &'static str, after: &'static str },
    /// In what clients send; of one length, since NATS counts.
    Request { before: &'static str, after: &'static str },
}

/// The address of a server like the one at `to`, but changed.
pub async fn changed(to: &str, change: Change) -> String {
    let to = to.trim_start_matches("nats://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pipe(
                from_client,
                to_server,
                match change {
                    Change::Request { before, after } => Some((before, after)),
                    Change::Greeting { .. } => None,
                },
            ));
            tokio::spawn(pipe(
                from_server,
                to_client,
                match change {
                    Change::Greeting { before, after } => Some((before, after)),
                    Change::Request { .. } => None,
                },
            ));
        }
    });
    format!("nats://{address}")
}

/// Small messages come whole, which is all that a test sends.
async fn pipe(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    change: Option<(&'static str, &'static str)>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let bytes = match change {
            Some((before, after)) => String::from_utf8_lossy(&buffer[..read]).replace(before, after).into_bytes(),
            None => buffer[..read].to_vec(),
        };
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
}
