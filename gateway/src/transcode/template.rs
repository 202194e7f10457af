//! Path templates of `google.api.http`: `/order/orders/{order_id}:cancel`.
//!
//! Only what this API uses is served: literals, one variable per segment, a verb at the end. Anything else (`*`,
//! `**`, patterns inside a variable) is refused when the gateway starts, never ignored.

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    text: String,
    segments: Vec<Segment>,
    verb: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// The path of the field that the segment fills, e.g. `["product", "product_id"]`.
    Variable(Vec<String>),
}

/// A variable of a path: the field it fills, and its decoded text.
pub(super) type Capture<'t> = (&'t [String], String);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// A sentence about what cannot be served.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix('/').ok_or("a path begins with a slash")?;
        let (path, verb) = match path.rsplit_once(':') {
            Some((path, verb)) if !verb.contains(['/', '}']) => (path, Some(verb.to_owned())),
            _ => (path, None),
        };
        let segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), segments, verb })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The variables of `path` when it matches.
    pub(super) fn matches(&self, path: &str) -> Option<Vec<Capture<'_>>> {
        let path = path.strip_prefix('/')?;
        let last = path.rfind('/').map_or(0, |slash| slash + 1);
        // An id never holds a bare colon, so the last one always begins a verb.
        let (path, verb) = match path[last..].rfind(':') {
            Some(colon) => (&path[..last + colon], Some(&path[last + colon + 1..])),
            None => (path, None),
        };
        if verb != self.verb.as_deref() {
            return None;
        }
        let mut captures = Vec::new();
        let mut given = path.split('/');
        for segment in &self.segments {
            let text = given.next()?;
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Literal(_) => return None,
                Segment::Variable(_) if text.is_empty() => return None,
                Segment::Variable(field) => captures.push((field.as_slice(), decode(text, false)?)),
            }
        }
        given.next().is_none().then_some(captures)
    }

    /// The fields that the template's variables fill.
    pub(super) fn variables(&self) -> impl Iterator<Item = &[String]> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(field) => Some(field.as_slice()),
            Segment::Literal(_) => None,
        })
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("the variable {text} is more than a field name"));
        }
        return Ok(Segment::Variable(name.split('.').map(str::to_owned).collect()));
    }
    if text.is_empty() || text.contains(['*', '{', '}']) {
        return Err(format!("the segment {text:?} is neither a literal nor a variable"));
    }
    Ok(Segment::Literal(text.to_owned()))
}

/// Undoes percent encoding (and, in a query, `+` for a space); `None` when it is not valid UTF-8 text.
pub(super) fn decode(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if query => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(template: &str, path: &str) -> Option<String> {
        let template = Template::parse(template).expect("servable");
        let found = template.matches(path)?;
        Some(found.iter().map(|(field, text)| format!("{}={text}", field.join("."))).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn paths_match_as_a_whole_or_not_at_all() {
        for (template, path, expected) in [
            ("/a/b", "/a/b", Some("")),
            ("/a/b", "/a/b/", None),
            ("/a/b", "/a", None),
            ("/a/b", "/a/b/c", None),
            ("/a/{x}", "/a/1", Some("x=1")),
            ("/a/{x}", "/a/", None),
            ("/a/{x}", "/a/1:go", None),
            ("/a/{x}:go", "/a/1:go", Some("x=1")),
            ("/a/{x}:go", "/a/1", None),
            ("/a/{x}:go", "/a/1:stop", None),
            ("/a/{x.y}/{z}", "/a/1/2", Some("x.y=1 z=2")),
            ("/a/{x}", "/a/b%2Fc%3Ad", Some("x=b/c:d")),
            ("/a/{x}", "/a/+", Some("x=+")),
            ("/a/{x}", "/a/%ff", None),
            ("/a/{x}", "/a/%4", None),
        ] {
            assert_eq!(captures(template, path).as_deref(), expected, "{template} on {path}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused_at_the_start() {
        for bad in ["a", "/a/*", "/a/**", "/a/{x=b/*}", "/a/{}", "/a//b", "/a/{x"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_spells_a_space_with_a_plus() {
        assert_eq!(decode("a+b%20c", true).as_deref(), Some("a b c"));
    }
}
