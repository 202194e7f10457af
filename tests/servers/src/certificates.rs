//! Certificates that only a test believes in, made by the `openssl` command.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Folder, NotHere, output};

/// Somebody who vouches for servers.
#[derive(Debug)]
pub struct Authority {
    folder: Folder,
}

/// A server's certificate and its key, in files.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

impl Authority {
    /// Another one than all before.
    ///
    /// # Errors
    /// [`NotHere`] without the command.
    pub fn new() -> Result<Self, NotHere> {
        let authority = Self { folder: Folder::new("authority", None)? };
        let mut make = openssl(authority.folder.path(), "req");
        make.args(["-x509", "-days", "2", "-subj", "/CN=nobody but a test", "-keyout", "authority.key"]);
        output(make.args(NEW_KEY).arg("-out").arg(authority.root()))?;
        Ok(authority)
    }

    /// The file of the certificate that whoever trusts it is given (PEM).
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Vouches for a server of this name; the files are put into `folder`.
    ///
    /// # Errors
    /// [`NotHere`] when the command refuses.
    pub fn certify(&self, name: &str, folder: &Path) -> Result<Certificate, NotHere> {
        let made = Certificate { certificate: folder.join("server.pem"), key: folder.join("server.key") };
        let own = self.folder.path();
        let mut ask = openssl(own, "req");
        ask.args(NEW_KEY).args(["-subj", "/CN=a server", "-out", "request.pem", "-keyout"]);
        output(ask.arg(&made.key))?;
        let told = fs::write(own.join("extensions"), format!("subjectAltName=DNS:{name}"));
        told.map_err(|error| NotHere::because("a certificate's name", error))?;
        let mut sign = openssl(own, "x509");
        sign.args(["-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"]);
        output(sign.args(["-days", "2", "-extfile", "extensions", "-out"]).arg(&made.certificate))?;
        Ok(made)
    }
}

/// A key that is quickly made.
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl(folder: &Path, what: &str) -> Command {
    let mut command = Command::new("openssl");
    command.arg(what).current_dir(folder);
    command
}
