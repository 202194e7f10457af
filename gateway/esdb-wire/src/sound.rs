//! JSON that every engine beneath can read as JSON.
//!
//! PostgreSQL's `jsonb` is stricter than the grammar: no U+0000, no half of a surrogate pair, no number or nesting
//! without measure. One such body would make a view over the whole log fail for everybody who reads it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Whether the bytes are such JSON. Nothing of it is kept, however large it is.
pub fn is_sound(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<Sound>(text).is_ok())
}

/// Any value; halves of pairs, numbers beyond a double and nesting beyond 128 are the parser's to refuse.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without U+0000")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self, E> {
        if text.contains('\0') { Err(E::custom("U+0000")) } else { Ok(self) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::is_sound;

    #[test]
    fn what_some_engine_could_not_read_is_not_sound() {
        for sound in [r#"{"a":[1,-2,1.5e300,null,true,"\u00e9\ud83d\ude00"]}"#, "\"\"", "0", r#"{"a":1,"a":2}"#] {
            assert!(is_sound(sound.as_bytes()), "{sound}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        for unsound in [r#"{"a":"\u0000"}"#, r#"{"\u0000":1}"#, r#"["\ud83d"]"#, "1e400", &deep, "{", "", "\u{0}"] {
            assert!(!is_sound(unsound.as_bytes()), "{unsound}");
        }
        assert!(!is_sound(b"\"\xff\""));
    }
}
