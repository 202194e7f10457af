//! TLS: who trusts our authority gets in, nobody else does, and whoever only stands in the door keeps nobody out.

use std::{fs, path::Path, time::Duration};

use esdb_wire::{Certificate, CertificateError, Limits};
use eventstore::{AppendToStreamOptions, Client, EventData, ReadStreamOptions};
use servers::{Authority, Folder};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::{
    hostile::SOON,
    server::{Log, Running},
};

/// A server that an authority vouches for, and the folder with their files.
async fn encrypted(limits: Limits) -> (Running, Authority, Folder) {
    let (authority, folder) = (Authority::new().unwrap(), Folder::new("wire", None).unwrap());
    let made = authority.certify("localhost", folder.path()).unwrap();
    let certificate = Certificate::from_files(&made.certificate, &made.key).unwrap();
    let change = |server: &mut esdb_wire::Server| server.limits = limits;
    (Running::start_with(Log::memory(), 0, Some(certificate), change).await, authority, folder)
}

fn trusting(root: &Path, server: &Running) -> Client {
    let (root, port) = (root.display(), server.port());
    Client::new(format!("esdb://localhost:{port}?tls=true&tlsCaFile={root}&maxDiscoverAttempts=2").parse().unwrap())
        .unwrap()
}

async fn append(client: &Client) -> Result<(), String> {
    let event = EventData::json("thing.happened", &serde_json::json!({ "n": 1 })).unwrap();
    let appended = timeout(SOON, client.append_to_stream("x-1", &AppendToStreamOptions::default(), event)).await;
    appended.expect("it is answered").map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_trusts_our_authority_gets_in_and_nobody_else() {
    let (server, authority, _files) = encrypted(Limits::default()).await;
    let client = trusting(&authority.root(), &server);
    append(&client).await.unwrap();
    let mut read = client.read_stream("x-1", &ReadStreamOptions::default()).await.unwrap();
    assert!(read.next().await.unwrap().is_some(), "what was appended is read");

    let stranger = Authority::new().unwrap();
    append(&trusting(&stranger.root(), &server)).await.expect_err("another authority");
    let plain = Client::new(format!("{}&maxDiscoverAttempts=2", server.url()).parse().unwrap()).unwrap();
    append(&plain).await.expect_err("a client that does not encrypt");
    append(&client).await.expect("the others are served as before");
    drop(read);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_finish_the_handshake_is_let_go() {
    let limits = Limits { handshake_max: Duration::from_millis(300), handshakes_max: 4, ..Limits::default() };
    let (server, authority, _files) = encrypted(limits).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(("127.0.0.1", server.port())).await.unwrap());
    }
    append(&trusting(&authority.root(), &server)).await.expect("those who wait take turns");
    for mut silent in silent {
        let read = timeout(SOON, silent.read(&mut [0; 1])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)), "nothing is said to it");
    }
    server.stop().await;
}

#[test]
fn files_that_are_no_certificate_and_key_are_refused() {
    let (authority, folder) = (Authority::new().unwrap(), Folder::new("wire", None).unwrap());
    let made = authority.certify("localhost", folder.path()).unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let file = |chain: &Path, key: &Path| match Certificate::from_files(chain, key) {
        Err(CertificateError::File { file, .. }) => file,
        Err(CertificateError::Unfit(error)) => format!("unfit: {error}"),
        Ok(_) => "taken".to_owned(),
    };
    let missing = folder.path().join("missing.pem");
    assert_eq!(file(&missing, &made.key), missing.display().to_string());
    assert_eq!(file(&empty, &made.key), empty.display().to_string());
    assert_eq!(file(&made.certificate, &empty), empty.display().to_string());
    assert_eq!(file(&made.certificate, &made.certificate), made.certificate.display().to_string());
    let other = Folder::new("wire", None).unwrap();
    let other = authority.certify("localhost", other.path()).unwrap();
    assert!(file(&made.certificate, &other.key).starts_with("unfit"), "a key of another certificate");
    assert_eq!(file(&made.certificate, &made.key), "taken");
}
