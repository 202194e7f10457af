//! Reads the file: one line is one row, and a broken line breaks nothing but itself.
//!
//! A general CSV reader lets a quoted field run over line ends, so that one stray quote swallows the rest of the
//! file without a word. Invoice lines have no line ends inside, so here each line is taken by itself: what
//! cannot be read is reported with its number and its reason, and the next line is read as if nothing had been.

use std::io::{self, BufRead, Read as _};

use sha2::{Digest as _, Sha256};

/// The columns that are needed, in the order of [`Raw`]; the file may have them in any order, and more.
const COLUMNS: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// The longest line that is read, in bytes; the rest of a longer one is skipped and the line is bad.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Why a file is no order file at all.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its first line does not name a column that is needed.
    #[error("the first line names no column {missing}; it must name {}", COLUMNS.join(", "))]
    Header {
        /// The first missing column.
        missing: &'static str,
    },
}

/// A row's fields as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The line in the file; the header is line 1.
    pub line: u64,
    /// `InvoiceNo`.
    pub invoice: String,
    /// `StockCode`.
    pub code: String,
    /// `Description`.
    pub description: String,
    /// `Quantity`.
    pub quantity: String,
    /// `InvoiceDate`.
    pub date: String,
    /// `UnitPrice`.
    pub price: String,
    /// `CustomerID`; empty for a guest.
    pub customer: String,
    /// `Country`.
    pub country: String,
}

/// A line that could not be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The line in the file.
    pub line: u64,
    /// What is wrong with it.
    pub detail: String,
}

/// Reads rows one after another, and takes the file's fingerprint on the way.
pub struct Reader<R> {
    input: R,
    line: u64,
    columns: usize,
    order: [usize; 8],
    hash: Sha256,
    buffer: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(input: R) -> Result<Self, FileError> {
        let mut reader = Self { input, line: 0, columns: 0, order: [0; 8], hash: Sha256::new(), buffer: Vec::new() };
        reader.next_line()?;
        let text = String::from_utf8_lossy(&reader.buffer);
        let header = split(text.trim_start_matches('\u{feff}')).unwrap_or_default();
        for (place, missing) in reader.order.iter_mut().zip(COLUMNS) {
            *place = header.iter().position(|name| name == missing).ok_or(FileError::Header { missing })?;
        }
        reader.columns = header.len();
        Ok(reader)
    }

    /// The next row or broken line; `None` at the end of the file. Empty lines are no rows.
    ///
    /// # Errors
    /// When the file cannot be read further.
    pub fn next_row(&mut self) -> io::Result<Option<Result<Raw, Broken>>> {
        while self.next_line()? {
            if !self.buffer.is_empty() {
                let line = self.line;
                return Ok(Some(self.row().map_err(|detail| Broken { line, detail })));
            }
        }
        Ok(None)
    }

    /// What names the content of the file: the hash of all that was read.
    pub fn fingerprint(self) -> [u8; 32] {
        self.hash.finalize().into()
    }

    /// Reads a line into the buffer, without its end; false when there is none.
    fn next_line(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let limit = LINE_BYTES_MAX as u64;
        let mut read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.buffer)? as u64;
        if read == 0 {
            return Ok(false);
        }
        self.hash.update(&self.buffer);
        // The rest of an overlong line is hashed and dropped; the cut row then has no line end, see `row`.
        while read == limit && self.buffer.last() != Some(&b'\n') {
            let mut rest = Vec::new();
            read = self.input.by_ref().take(limit).read_until(b'\n', &mut rest)? as u64;
            self.hash.update(&rest);
            if rest.last() == Some(&b'\n') {
                break;
            }
        }
        self.line += 1;
        while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
            self.buffer.pop();
        }
        Ok(true)
    }

    fn row(&self) -> Result<Raw, String> {
        if self.buffer.len() >= LINE_BYTES_MAX {
            return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|_| "not UTF-8".to_owned())?;
        let mut fields = split(text).map_err(str::to_owned)?;
        if fields.len() != self.columns {
            return Err(format!("{} columns, not {}", fields.len(), self.columns));
        }
        let mut take = |column: usize| fields.get_mut(self.order[column]).map(std::mem::take).unwrap_or_default();
        Ok(Raw {
            line: self.line,
            invoice: take(0),
            code: take(1),
            description: take(2),
            quantity: take(3),
            date: take(4),
            price: take(5),
            customer: take(6),
            country: take(7),
        })
    }
}

/// Splits a line as RFC 4180 says; whatever it does not allow is an error, not a guess.
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::with_capacity(COLUMNS.len());
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if !rest.starts_with('"') && field.contains('"') {
            return Err("a quote inside a field that is not quoted");
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("text after a closing quote"),
        }
    }
}

/// A quoted field without its quotes, and what follows it.
fn quoted_field(text: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("a quote that is never closed")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    /// Reads rows under the usual header: `line: code description` or `line! what is wrong`.
    fn check(rows: impl AsRef<[u8]>, expected: &[&str]) {
        let file = [HEADER.as_bytes(), rows.as_ref()].concat();
        let mut reader = Reader::open(&file[..]).unwrap();
        let mut seen = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            seen.push(match row {
                Ok(raw) => format!("{}: {} {}", raw.line, raw.code, raw.description),
                Err(broken) => format!("{}! {}", broken.line, broken.detail),
            });
        }
        assert_eq!(seen, expected);
    }

    fn row(code: &str, description: &str) -> String {
        format!("1,{code},{description},6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n")
    }

    #[test]
    fn quoted_fields_keep_their_commas_and_quotes() {
        check(row("A", "\"DOLLY, \"\"BIG\"\"\""), &["2: A DOLLY, \"BIG\""]);
        check(row("A", ""), &["2: A "]);
        check(row("A", "crlf").replace('\n', "\r\n"), &["2: A crlf"]);
        check(row("A", "last").trim_end(), &["2: A last"]);
        check(format!("\n{}\r\n{}", row("A", "one"), row("B", "two")), &["3: A one", "5: B two"]);
    }

    #[test]
    fn a_broken_line_breaks_nothing_but_itself() {
        let good = row("B", "good");
        for (bad, why) in [
            (row("A", "\"open"), "a quote that is never closed"),
            (row("A", "\"shut\"too"), "text after a closing quote"),
            (row("A", "12\" plate"), "a quote inside a field that is not quoted"),
            (row("A", "one,more"), "9 columns, not 8"),
            ("only\n".to_owned(), "1 columns, not 8"),
        ] {
            check(format!("{bad}{good}"), &[&format!("2! {why}"), "3: B good"]);
        }
        check([b"1,A,\xff,6,d,p,c,l\n", good.as_bytes()].concat(), &["2! not UTF-8", "3: B good"]);
        for length in [LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX * 2, LINE_BYTES_MAX * 3 + 5] {
            let long = format!("{}\n{good}", "x".repeat(length));
            let why =
                if length < LINE_BYTES_MAX { "1 columns, not 8".into() } else { "longer than 65536 bytes".to_owned() };
            check(long, &[&format!("2! {why}"), "3: B good"]);
        }
    }

    #[test]
    fn columns_may_come_in_any_order_with_others_between() {
        let file = "\u{feff}Country,x,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo\n\
                    GB,?,7,1.5,d,2,mug,M1,100\n";
        let row = Reader::open(file.as_bytes()).unwrap().next_row().unwrap().unwrap().unwrap();
        assert_eq!((row.invoice.as_str(), row.code.as_str(), row.country.as_str()), ("100", "M1", "GB"));
        let missing = Reader::open("InvoiceNo,StockCode\n".as_bytes()).err().unwrap();
        assert!(matches!(missing, FileError::Header { missing: "Description" }));
    }

    #[test]
    fn every_byte_counts_for_the_fingerprint() {
        let print = |file: String| {
            let mut reader = Reader::open(io::Cursor::new(file)).unwrap();
            while reader.next_row().unwrap().is_some() {}
            reader.fingerprint()
        };
        let one = format!("{HEADER}{}", row("A", "one"));
        assert_eq!(print(one.clone()), print(one.clone()));
        assert_ne!(print(one.clone()), print(one.replace("one", "two")));
        let long = |tail| format!("{one}{}{tail}\n", "x".repeat(LINE_BYTES_MAX * 2));
        assert_ne!(print(long("a")), print(long("b")));
    }
}
