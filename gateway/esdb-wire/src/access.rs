//! Who may do what: basic credentials to a right, and a right to streams.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tonic::{Status, metadata::MetadataMap};

use crate::error;

/// Everything whose name begins like this belongs to foreigners, in every mode.
const FOREIGN: &str = "x-";
/// A stream's metadata lives in the stream of the same name behind this.
const METADATA: &str = "$$";

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read and follow everything, write nothing.
    Read,
    /// And append to, and delete, the streams of foreigners.
    AppendForeign,
    /// And write every other stream.
    All,
}

/// Whether the log has streams that are not everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The log is a shop's: only [`Right::All`] writes the shop's own streams, foreigners write `x-…` streams.
    Shop,
    /// A bare log: whoever may append at all may append anywhere.
    Store,
}

/// Who may do what. It is asked for every call, so it should remember what costs much (a password's hash).
pub trait Access: Send + Sync + 'static {
    /// What somebody with these basic credentials may do; `None` when they are wrong.
    fn authenticate(&self, user: &str, password: &str) -> Option<Right>;

    /// What somebody without credentials may do; by default nothing.
    fn anonymous(&self) -> Option<Right> {
        None
    }
}

impl<F: Fn(&str, &str) -> Option<Right> + Send + Sync + 'static> Access for F {
    fn authenticate(&self, user: &str, password: &str) -> Option<Right> {
        self(user, password)
    }
}

/// Everybody may do everything, with any credentials or none: for a log that only its owner can reach.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Access for Open {
    fn authenticate(&self, _: &str, _: &str) -> Option<Right> {
        Some(Right::All)
    }

    fn anonymous(&self) -> Option<Right> {
        Some(Right::All)
    }
}

/// The right of whoever sent these headers.
pub fn right(access: &dyn Access, headers: &MetadataMap) -> Result<Right, Status> {
    let right = match headers.get("authorization") {
        None => access.anonymous(),
        Some(value) => {
            let (user, password) = value.to_str().ok().and_then(basic).ok_or_else(error::unauthenticated)?;
            access.authenticate(&user, &password)
        }
    };
    right.ok_or_else(error::unauthenticated)
}

/// `Basic dXNlcjpwYXNzd29yZA==` as user and password.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Whether `right` may write `stream`, metadata streams included.
pub fn may_write(mode: Mode, right: Right, stream: &str) -> bool {
    let own = stream.strip_prefix(METADATA).unwrap_or(stream);
    match (right, mode) {
        (Right::All, _) | (Right::AppendForeign, Mode::Store) => true,
        (Right::AppendForeign, Mode::Shop) => own.starts_with(FOREIGN),
        (Right::Read, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_as_they_are_spelled() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(basic(&header("u:p:q")), Some(("u".into(), "p:q".into())), "a password may hold a colon");
        assert_eq!(basic(&header(":")), Some((String::new(), String::new())));
        assert_eq!(basic(&header("u:p").replace("Basic", "basic")), Some(("u".into(), "p".into())));
        for bad in ["", "Basic", "Basic !", "Bearer dTpw", &header("nocolon"), "dTpw"] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }

    #[test]
    fn foreigners_write_their_own_streams_only_where_the_log_is_a_shops() {
        use {Mode::*, Right::*};
        let cases = [
            (Shop, Read, "x-1", false),
            (Shop, AppendForeign, "x-1", true),
            (Shop, AppendForeign, "$$x-1", true),
            (Shop, AppendForeign, "order-1", false),
            (Shop, AppendForeign, "$$order-1", false),
            (Shop, AppendForeign, "xorder-1", false),
            (Shop, AppendForeign, "$$$$x-1", false),
            (Shop, AppendForeign, "", false),
            (Shop, All, "order-1", true),
            (Store, Read, "x-1", false),
            (Store, AppendForeign, "order-1", true),
        ];
        for (mode, right, stream, may) in cases {
            assert_eq!(may_write(mode, right, stream), may, "{mode:?} {right:?} {stream}");
        }
    }
}
