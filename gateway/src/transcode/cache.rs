//! What browsers and CDNs may keep of an answer, and how they ask whether it still holds.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};
use tonic::body::Body;

/// Who may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Anybody on the way, for so long: it is what everybody sees.
    Anybody(Duration),
    /// The caller, who asks each time whether it still holds.
    Caller,
    /// Nobody: it tells what this request did.
    Nobody,
}

impl Keep {
    fn header(self) -> HeaderValue {
        match self {
            // Digits and letters are a header.
            Self::Anybody(age) => HeaderValue::try_from(format!("public, max-age={}", age.as_secs()))
                .unwrap_or(HeaderValue::from_static("no-cache")),
            Self::Caller => HeaderValue::from_static("private, no-cache"),
            Self::Nobody => HeaderValue::from_static("no-store"),
        }
    }
}

/// An answer in JSON; without it if the caller has the very same.
pub(super) fn answer(json: Bytes, keep: Keep, asked: &HeaderMap) -> Response<Body> {
    if keep == Keep::Nobody {
        return with(Response::new(Body::new(Full::from(json))), [(header::CACHE_CONTROL, keep.header()), CONTENT]);
    }
    let tag = tag(&json);
    tagged(json, tag, keep, asked)
}

/// The same for what has its tag already, and is kept by somebody.
pub(super) fn tagged(json: Bytes, tag: HeaderValue, keep: Keep, asked: &HeaderMap) -> Response<Body> {
    let same = has(asked, &tag);
    // What is told to nobody in particular is not always what is told to somebody.
    let vary = (header::VARY, HeaderValue::from_static("authorization"));
    let headers = [(header::CACHE_CONTROL, keep.header()), (header::ETAG, tag), vary];
    if same {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return with(response, headers);
    }
    with(with(Response::new(Body::new(Full::from(json))), headers), [CONTENT])
}

const CONTENT: (HeaderName, HeaderValue) = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));

fn with<const N: usize>(mut response: Response<Body>, headers: [(HeaderName, HeaderValue); N]) -> Response<Body> {
    response.headers_mut().extend(headers);
    response
}

/// The same for the same bytes.
pub(super) fn tag(json: &[u8]) -> HeaderValue {
    let digest: [u8; 32] = Sha256::digest(json).into();
    let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    // Hex digits in quotes are a header.
    HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the caller has what the tag is of: `If-None-Match` compares weakly, and `*` is whatever there is.
fn has(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let tags = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|tags| tags.to_str().ok());
    let mut tags = tags.flat_map(|tags| tags.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given).as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tags: &[&'static str]) -> HeaderMap {
        tags.iter().map(|tags| (header::IF_NONE_MATCH, HeaderValue::from_static(tags))).collect()
    }

    fn status(tags: &[&'static str]) -> u16 {
        answer(Bytes::from_static(b"{}"), Keep::Caller, &asked(tags)).status().as_u16()
    }

    #[test]
    fn who_has_the_same_gets_it_not_again() {
        // SHA-256 of `{}`.
        assert_eq!(tag(b"{}"), "\"44136fa355b3678a1146ad16\"");
        for same in [
            "\"44136fa355b3678a1146ad16\"",
            "W/\"44136fa355b3678a1146ad16\"",
            "\"a\", \"44136fa355b3678a1146ad16\"",
            "*",
        ] {
            assert_eq!(status(&[same]), 304, "{same}");
        }
        assert_eq!(status(&["\"a\"", "\"44136fa355b3678a1146ad16\""]), 304);
        for other in ["\"a\"", "44136fa355b3678a1146ad16", ""] {
            assert_eq!(status(&[other]), 200, "{other}");
        }
        let done = answer(Bytes::from_static(b"{}"), Keep::Nobody, &asked(&["*"]));
        assert_eq!((done.status().as_u16(), done.headers().get(header::ETAG)), (200, None));
    }

    #[test]
    fn an_answer_says_who_may_keep_it() {
        let says = |keep| {
            let answer = answer(Bytes::from_static(b"{}"), keep, &HeaderMap::new());
            answer.headers()[header::CACHE_CONTROL].to_str().expect("text").to_owned()
        };
        assert_eq!(says(Keep::Anybody(Duration::from_secs(5))), "public, max-age=5");
        assert_eq!(says(Keep::Caller), "private, no-cache");
        assert_eq!(says(Keep::Nobody), "no-store");
    }
}
