//! Which database, and how to reach it: `sslmode` as `libpq` means it, or not at all.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use tokio_postgres::{Config, config::SslMode};

use crate::{
    error::Error,
    tls::{Proof, Tls},
};

/// A database by its URL (`postgres://user:password@host:port/database`) or in the `key=value` form; several hosts and the
/// parameters of `libpq` are understood. It may hold a password, so it is never printed.
///
/// | `sslmode` | what it asks for |
/// |---|---|
/// | `disable` | no encryption |
/// | `prefer` (the default) | encryption if the server has it; whoever is in between can say that it has not |
/// | `require` | encryption with whoever answers; with a root certificate, as `verify-ca` |
/// | `verify-ca` | that somebody trusted vouches for the server, by whatever name |
/// | `verify-full` | that they vouch for it under the name that the URL has |
///
/// Trusted are the given root certificates, else those of the system. A mode of another name, `allow` among them, is
/// refused, and so is `channel_binding=require`: there is none. Clients have no certificates.
#[derive(Clone)]
pub struct Address {
    url: String,
    root_certificate_file: Option<PathBuf>,
}

impl<U: AsRef<str>> From<U> for Address {
    fn from(url: U) -> Self {
        Self { url: url.as_ref().to_owned(), root_certificate_file: None }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("root_certificate_file", &self.root_certificate_file).finish_non_exhaustive()
    }
}

impl Address {
    /// The same, trusting nobody but the certificates in this file (PEM).
    #[must_use]
    pub fn trusting(self, root_certificate_file: Option<&Path>) -> Self {
        Self { root_certificate_file: root_certificate_file.map(Path::to_owned), ..self }
    }

    /// What the client is told, and how it encrypts, if it does.
    pub(crate) fn read(&self) -> Result<(Config, Option<Tls>), Error> {
        let (url, proof) = proof(&self.url);
        let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::Url(cause)
        })?;
        let roots = self.root_certificate_file.as_deref();
        let proof = match (config.get_ssl_mode(), proof) {
            (SslMode::Require, None) if roots.is_some() => Proof::Authority,
            (SslMode::Require, proof) => proof.unwrap_or(Proof::None),
            (_, _) if roots.is_some() => {
                let why = "there is a root certificate, but sslmode is not require, verify-ca or verify-full";
                return Err(Error::Url(why.to_owned()));
            }
            (SslMode::Disable, _) => return Ok((config, None)),
            (_, _) => Proof::None,
        };
        Ok((config, Some(Tls::new(proof, roots)?)))
    }
}

/// What a URL asks a server to prove, and the URL as the client understands it: it knows only `require`.
fn proof(url: &str) -> (String, Option<Proof>) {
    // `…?name=value&name=value`, or `name=value name=value`.
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (before, settings, between) = match url.rsplit_once('?') {
        Some((before, settings)) if is_url => (format!("{before}?"), settings, "&"),
        _ => (String::new(), url, " "),
    };
    let mut proof = None;
    let settings = settings.split(between).map(|setting| {
        let Some(mode) = setting.strip_prefix("sslmode=") else { return setting };
        // As everywhere, the last one counts.
        proof = match mode {
            "verify-ca" => Some(Proof::Authority),
            "verify-full" => Some(Proof::Name),
            _ => None,
        };
        if proof.is_some() { "sslmode=require" } else { setting }
    });
    let settings: Vec<&str> = settings.collect();
    (before + &settings.join(between), proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mode that the client is told, and what the server has to prove.
    fn read(settings: &str) -> Vec<Result<(SslMode, Option<Proof>), String>> {
        let written = |url: String| {
            let (url, proof) = proof(&url);
            let config = url.parse::<Config>().map_err(|error| error.to_string())?;
            Ok((config.get_ssl_mode(), proof))
        };
        let url = format!("postgres://me:a?b@db/shop?application_name=x&{}", settings.replace(' ', "&"));
        vec![written(url), written(format!("host=db password='a?b' {settings}"))]
    }

    #[test]
    fn a_mode_is_read_in_both_forms() {
        for (settings, mode, proof) in [
            ("sslmode=disable", SslMode::Disable, None),
            ("connect_timeout=3", SslMode::Prefer, None),
            ("sslmode=require", SslMode::Require, None),
            ("sslmode=verify-ca connect_timeout=3", SslMode::Require, Some(Proof::Authority)),
            ("sslmode=verify-full", SslMode::Require, Some(Proof::Name)),
            ("sslmode=disable sslmode=verify-full", SslMode::Require, Some(Proof::Name)),
            ("sslmode=verify-full sslmode=disable", SslMode::Disable, None),
        ] {
            for read in read(settings) {
                assert_eq!(read, Ok((mode, proof)), "{settings}");
            }
        }
    }

    #[test]
    fn a_mode_that_nobody_knows_is_refused() {
        for settings in ["sslmode=allow", "sslmode=verify", "sslmode=verify-Full", "sslmode="] {
            for read in read(settings) {
                assert!(read.is_err(), "{settings}: {read:?}");
            }
        }
    }

    #[test]
    fn a_root_certificate_is_never_ignored() {
        let roots = Path::new("/dev/null");
        for url in ["postgres://db/shop", "postgres://db/shop?sslmode=disable", "postgres://db/shop?sslmode=prefer"] {
            let refused = Address::from(url).trusting(Some(roots)).read();
            assert!(matches!(refused, Err(Error::Url(_))), "{url}");
        }
        let empty = Address::from("postgres://db/shop?sslmode=require").trusting(Some(roots)).read();
        assert!(matches!(empty, Err(Error::Certificates(_))), "nobody could be trusted");
    }

    #[test]
    fn a_password_is_never_printed() {
        assert!(!format!("{:?}", Address::from("postgres://me:secret@db/shop")).contains("secret"));
    }
}
