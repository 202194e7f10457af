//! Subjects: parts joined by dots, each of them escaped.

/// Whether a word may be part of the names of subjects, streams and consumers as it is.
pub fn is_name(word: &str) -> bool {
    (1..=32).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The parts, joined. What is not a letter, a digit or one of `_ ~ -` is percent-encoded: an id may hold dots, and
/// nothing in it can become a wildcard.
pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>, part_max: usize) -> String {
    let mut subject = String::with_capacity(64);
    for part in parts {
        if !subject.is_empty() {
            subject.push('.');
        }
        let begin = subject.len();
        for byte in part.bytes() {
            if subject.len() - begin + 3 > part_max {
                break;
            }
            if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'~' | b'-') {
                subject.push(char::from(byte));
            } else {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let [high, low] = [byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)]));
                subject.extend(['%', high, low]);
            }
        }
        if subject.len() == begin {
            subject.push('%');
        }
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::{is_name, of};

    #[test]
    fn nothing_in_a_part_is_taken_for_structure() {
        assert_eq!(of(["shop", "evt", "order", "placed", "a-1_2~3"], 256), "shop.evt.order.placed.a-1_2~3");
        assert_eq!(of(["a.b", "*", ">", "", "ü \r\n%"], 256), "a%2Eb.%2A.%3E.%.%C3%BC%20%0D%0A%25");
        assert_eq!(of(["x".repeat(300).as_str()], 10).len(), 8, "cut where an escape still fits");
    }

    #[test]
    fn a_name_is_a_short_plain_word() {
        assert!(is_name("shop") && is_name("shop-2"));
        for word in ["", "a.b", "a b", "*", ">", "Shop", "a_b", &"x".repeat(33)] {
            assert!(!is_name(word), "{word:?}");
        }
    }
}
