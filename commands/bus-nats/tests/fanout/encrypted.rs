//! A server that encrypts, and who vouches for it.

use bus_nats::{Error, Nats, Settings};
use servers::{Authority, Folder, nats::Options, or_not_run};
use tokio_rustls::rustls::crypto::ring;

use super::scene::limits;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_encrypts_is_trusted_only_where_somebody_vouches_for_it() {
    // Another test may have been first: it chose the same.
    let _chosen = ring::default_provider().install_default();
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = Folder::new("certificate", None).unwrap();
    let made = authority.certify("localhost", folder.path()).unwrap();
    let tls = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", made.certificate, made.key);
    let options = Options { own: true, settings: &[&tls], ..Options::default() };
    let Some(server) = or_not_run(servers::nats::Nats::start(options)) else { return };
    let url = server.url().replace("nats://127.0.0.1", "tls://localhost");
    let trusting = async |root_certificate_file| {
        let settings = Settings { root_certificate_file, ..Settings::new(&url) };
        Nats::connect(settings, limits()).await.unwrap().check().await
    };
    trusting(Some(authority.root())).await.unwrap();
    for untrusted in [None, Some(stranger.root()), Some(folder.path().join("missing.pem"))] {
        let refused = trusting(untrusted).await;
        assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");
    }
    let file = folder.path().join("missing.creds");
    let settings = Settings { credentials_file: Some(file), ..Settings::new(&url) };
    let refused = Nats::connect(settings, limits()).await;
    assert!(matches!(&refused, Err(Error::Settings(why)) if why.contains("missing.creds")), "{refused:?}");
}
