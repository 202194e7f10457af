//! What the tables of a view are called.

use ports::views::Error;

/// PostgreSQL cuts names off behind so many bytes.
const NAME_BYTES_MAX: usize = 63;
/// The longest addition to a view's name.
const ENTRIES: &str = ":entries";
/// Where everything is.
const SCHEMA: &str = "cartulary_views.";

/// The tables of a view, quoted.
#[derive(Debug, Clone)]
pub struct Names {
    /// Its rows.
    pub rows: String,
    /// The entries of its indexes.
    pub entries: String,
    /// The SQL view for people.
    pub people: String,
}

impl Names {
    /// The names that belong to a view.
    pub fn of(view: &str) -> Result<Self, Error> {
        let max = NAME_BYTES_MAX - ENTRIES.len();
        if view.is_empty() || view.len() > max || view.contains('\0') {
            return Err(Error::Failed(format!("a view's name has 1 to {max} bytes, none of them zero: {view:?}")));
        }
        let quoted = |addition: &str| format!("{SCHEMA}\"{}{addition}\"", view.replace('"', "\"\""));
        Ok(Self { rows: quoted(":rows"), entries: quoted(ENTRIES), people: quoted("") })
    }

    /// One of the names as it is called inside its schema.
    pub fn within(name: &str) -> &str {
        name.strip_prefix(SCHEMA).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_ends_its_quotes_and_is_never_cut_off() {
        let names = Names::of("od\"d; DROP TABLE x; --.1").unwrap();
        assert_eq!(names.rows, "cartulary_views.\"od\"\"d; DROP TABLE x; --.1:rows\"");
        for bad in ["", "a\0b", &"x".repeat(56)] {
            assert!(Names::of(bad).is_err(), "{bad:?}");
        }
        assert!(Names::of(&"x".repeat(55)).is_ok());
    }
}
