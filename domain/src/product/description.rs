//! What a product says about itself: the values of its events, and the limits they keep.
//!
//! Every text and list that a seller may write has a named limit here, because it lives in the log for ever,
//! in every snapshot, in every view and on every wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Rejection;
use crate::{
    ids::{CategoryId, Sku},
    money::Money,
};

/// The longest product name, in characters.
pub const NAME_MAX: usize = 200;
/// The longest product text, in characters.
pub const TEXT_MAX: usize = 20_000;
/// The most keywords of a product.
pub const KEYWORDS_MAX: usize = 50;
/// The longest keyword, in characters.
pub const KEYWORD_MAX: usize = 50;
/// The most images of a product.
pub const IMAGES_MAX: usize = 30;
/// The longest image URL, in characters.
pub const IMAGE_MAX: usize = 2_048;
/// The deepest path in the category tree, in steps.
pub const CATEGORIES_MAX: usize = 8;
/// The most attributes of a product.
pub const ATTRIBUTES_MAX: usize = 100;
/// The longest name or value of an attribute or option, in characters.
pub const ATTRIBUTE_MAX: usize = 500;
/// The longest number of an attribute, in characters: sign, digits and point.
pub const NUMBER_MAX: usize = 40;
/// The most variants of a product.
pub const VARIANTS_MAX: usize = 1_000;
/// The most options of a variant.
pub const OPTIONS_MAX: usize = 20;

/// What a product is, in words, pictures and attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The name shown in lists and frozen into order lines; 1 to [`NAME_MAX`] characters.
    pub name: String,
    /// The long text, at most [`TEXT_MAX`] characters; may be empty.
    pub text: String,
    /// Words to be found by, at most [`KEYWORDS_MAX`].
    pub keywords: Vec<String>,
    /// Pictures as absolute http or https URLs, the first one is the cover; at most [`IMAGES_MAX`].
    pub images: Vec<String>,
    /// The path in the category tree from the root to the leaf; may be empty.
    pub categories: Vec<CategoryId>,
    /// Facts to filter and compare by, under their names; at most [`ATTRIBUTES_MAX`].
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute. In JSON: `{"text": "cotton"}`, `{"number": {"value": "1.5", "unit": "kg"}}`,
/// `{"flag": true}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Words.
    Text(String),
    /// A quantity.
    Number {
        /// A decimal such as `-1.50`, kept as written: no float touches it.
        value: String,
        /// The unit, e.g. `kg`; none for a bare number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
    },
    /// Yes or no.
    Flag(bool),
}

/// One thing that can be bought of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// What is counted, reserved and shipped.
    pub sku: Sku,
    /// What tells it from its siblings, e.g. `colour: red`; empty when there is only one.
    pub options: BTreeMap<String, String>,
    /// The price of one unit; positive, one currency per product.
    pub price: Money,
}

impl Description {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the fields.
    pub fn check(&self) -> Result<(), Rejection> {
        required("name", &self.name, NAME_MAX)?;
        short("text", &self.text, TEXT_MAX)?;
        few("keywords", self.keywords.len(), KEYWORDS_MAX)?;
        for keyword in &self.keywords {
            required("keyword", keyword, KEYWORD_MAX)?;
        }
        few("images", self.images.len(), IMAGES_MAX)?;
        for image in &self.images {
            short("image", image, IMAGE_MAX)?;
            if !is_http_url(image) {
                return Err(Rejection::InvalidImage { url: image.clone() });
            }
        }
        few("categories", self.categories.len(), CATEGORIES_MAX)?;
        few("attributes", self.attributes.len(), ATTRIBUTES_MAX)?;
        self.attributes.iter().try_for_each(|(name, value)| value.check(name))
    }

    /// The last step of the category path: where the product itself stands.
    #[must_use]
    pub fn leaf(&self) -> Option<&CategoryId> {
        self.categories.last()
    }
}

impl Attribute {
    fn check(&self, name: &str) -> Result<(), Rejection> {
        required("attribute name", name, ATTRIBUTE_MAX)?;
        match self {
            Self::Text(text) => short("attribute", text, ATTRIBUTE_MAX),
            Self::Number { value, unit } => {
                if !is_decimal(value) {
                    let value = value.chars().take(NUMBER_MAX).collect();
                    return Err(Rejection::InvalidNumber { attribute: name.to_owned(), value });
                }
                unit.as_deref().map_or(Ok(()), |unit| required("unit", unit, ATTRIBUTE_MAX))
            }
            Self::Flag(_) => Ok(()),
        }
    }
}

impl Variant {
    /// Checks the price and the options.
    ///
    /// # Errors
    /// The first [`Rejection`].
    pub fn check(&self) -> Result<(), Rejection> {
        positive(&self.sku, self.price)?;
        few("options", self.options.len(), OPTIONS_MAX)?;
        self.options.iter().try_for_each(|(name, value)| {
            required("option name", name, ATTRIBUTE_MAX)?;
            required("option", value, ATTRIBUTE_MAX)
        })
    }
}

/// A price is more than nothing.
pub(super) fn positive(sku: &Sku, price: Money) -> Result<(), Rejection> {
    if price.amount > 0 { Ok(()) } else { Err(Rejection::InvalidPrice { sku: sku.clone(), price }) }
}

/// A list has at most `limit` entries.
pub(super) fn few(field: &'static str, found: usize, limit: usize) -> Result<(), Rejection> {
    if found <= limit { Ok(()) } else { Err(Rejection::TooMany { field, found, limit }) }
}

fn required(field: &'static str, text: &str, limit: usize) -> Result<(), Rejection> {
    if text.trim().is_empty() {
        return Err(Rejection::Missing { field });
    }
    short(field, text, limit)
}

fn short(field: &'static str, text: &str, limit: usize) -> Result<(), Rejection> {
    let found = text.chars().count();
    if found > limit {
        return Err(Rejection::TooLong { field, found, limit });
    }
    // Some databases refuse a NUL, and a terminal obeys an escape sequence.
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Rejection::ControlCharacter { field });
    }
    Ok(())
}

/// An absolute http or https URL with a host and nothing that could break out of an attribute in a page.
fn is_http_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return false;
    };
    rest.starts_with(|c: char| c.is_alphanumeric() || c == '[')
        && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '\\'))
}

/// An optional minus, digits, and perhaps a point with digits after it.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    text.len() <= NUMBER_MAX && digits(whole) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Description {
        Description {
            name: "Lunch box".into(),
            text: String::new(),
            keywords: Vec::new(),
            images: Vec::new(),
            categories: Vec::new(),
            attributes: BTreeMap::new(),
        }
    }

    fn number(value: &str) -> Description {
        let value = Attribute::Number { value: value.into(), unit: None };
        Description { attributes: BTreeMap::from([("weight".into(), value)]), ..plain() }
    }

    #[test]
    fn every_text_and_list_has_its_limit_and_says_so() {
        let long = |field, limit| Err(Rejection::TooLong { field, found: limit + 1, limit });
        let many = |field, limit| Err(Rejection::TooMany { field, found: limit + 1, limit });
        let x = |n: usize| "é".repeat(n);
        let image = |n: usize| format!("https://{}", "a".repeat(n - 8));

        assert_eq!(plain().check(), Ok(()));
        assert_eq!(Description { name: x(NAME_MAX), ..plain() }.check(), Ok(()));
        assert_eq!(Description { name: x(NAME_MAX + 1), ..plain() }.check(), long("name", NAME_MAX));
        assert_eq!(Description { name: " ".into(), ..plain() }.check(), Err(Rejection::Missing { field: "name" }));
        assert_eq!(Description { text: x(TEXT_MAX + 1), ..plain() }.check(), long("text", TEXT_MAX));
        let keywords = vec!["k".to_owned(); KEYWORDS_MAX + 1];
        assert_eq!(Description { keywords, ..plain() }.check(), many("keywords", KEYWORDS_MAX));
        let keywords = vec![x(KEYWORD_MAX + 1)];
        assert_eq!(Description { keywords, ..plain() }.check(), long("keyword", KEYWORD_MAX));
        let images = vec![image(20); IMAGES_MAX + 1];
        assert_eq!(Description { images, ..plain() }.check(), many("images", IMAGES_MAX));
        let images = vec![image(IMAGE_MAX + 1)];
        assert_eq!(Description { images, ..plain() }.check(), long("image", IMAGE_MAX));
        let categories = vec![CategoryId::new("home").unwrap(); CATEGORIES_MAX + 1];
        assert_eq!(Description { categories, ..plain() }.check(), many("categories", CATEGORIES_MAX));
        let attributes = (0..=ATTRIBUTES_MAX).map(|n| (n.to_string(), Attribute::Flag(true))).collect();
        assert_eq!(Description { attributes, ..plain() }.check(), many("attributes", ATTRIBUTES_MAX));
        let attributes = BTreeMap::from([("care".into(), Attribute::Text(x(ATTRIBUTE_MAX + 1)))]);
        assert_eq!(Description { attributes, ..plain() }.check(), long("attribute", ATTRIBUTE_MAX));
        let text = "line\nline\0".to_owned();
        assert_eq!(Description { text, ..plain() }.check(), Err(Rejection::ControlCharacter { field: "text" }));
    }

    #[test]
    fn an_image_is_an_absolute_web_address() {
        for good in ["http://a.example/1.jpg", "https://a.example/b?c=d#e", "https://[::1]/x"] {
            assert_eq!(Description { images: vec![good.into()], ..plain() }.check(), Ok(()), "{good}");
        }
        for bad in
            ["", "a.jpg", "ftp://a/b", "javascript:alert(1)", "https://", "https:///x", "https://a/\"x", "http://a b"]
        {
            let refused = Description { images: vec![bad.into()], ..plain() }.check();
            assert_eq!(refused, Err(Rejection::InvalidImage { url: bad.into() }));
        }
    }

    #[test]
    fn a_number_is_a_decimal_as_people_write_it() {
        for good in ["0", "-1.50", "12", "0.001"] {
            assert_eq!(number(good).check(), Ok(()), "{good}");
        }
        for bad in ["", "-", ".5", "1.", "1e3", "1,5", "NaN", "--1", "1.2.3"] {
            let refused = Rejection::InvalidNumber { attribute: "weight".into(), value: bad.into() };
            assert_eq!(number(bad).check(), Err(refused));
        }
    }

    #[test]
    fn attributes_read_well_in_the_log() {
        let json = |attribute: &Attribute| serde_json::to_string(attribute).unwrap();
        assert_eq!(json(&Attribute::Text("cotton".into())), r#"{"text":"cotton"}"#);
        assert_eq!(json(&Attribute::Flag(true)), r#"{"flag":true}"#);
        let weight = Attribute::Number { value: "1.5".into(), unit: Some("kg".into()) };
        assert_eq!(json(&weight), r#"{"number":{"value":"1.5","unit":"kg"}}"#);
        assert_eq!(serde_json::from_str::<Attribute>(&json(&weight)).unwrap(), weight);
    }
}
