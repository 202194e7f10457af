//! What the file says was sold, computed without any code of the shop.
//!
//! It repeats the rules of the import in its own words and its own way: another CSV reader, prices as text, and
//! units one by one instead of quantities. Where the two disagree about one row or one penny, one of them is wrong.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::Read,
    path::Path,
};

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It was sold.
    Sold,
    /// It came back.
    Returned,
    /// It is nothing that could be sold or come back, and why.
    Refused(&'static str),
}

/// What figures are kept for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    pub code: String,
    pub country: String,
    pub day: String,
}

/// What was sold and what came back, in units and pence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub units: i64,
    pub pence: i64,
    pub units_back: i64,
    pub pence_back: i64,
}

/// A line of the file, as text.
struct Row {
    line: u64,
    invoice: String,
    code: String,
    quantity: i64,
    date: String,
    price: String,
    customer: String,
    country: String,
}

/// Every row of a file with its class.
pub struct Classified {
    rows: Vec<(Row, Class)>,
}

impl Classified {
    /// Reads a file and says what each of its rows is.
    pub fn of(path: &Path) -> Self {
        let mut rows = read(path);
        // In the order of time; a stable sort keeps the order of the file within a moment.
        rows.sort_by(|a, b| a.date.cmp(&b.date));
        // What each customer holds of a code at a price in a country: one entry per sale, newest last.
        let mut held: HashMap<[String; 4], Vec<i64>> = HashMap::new();
        // What has a price at all: a first look at every row by itself.
        let sold = rows.iter().filter(|row| class(row, &mut HashMap::new()) == Class::Sold && pence_of(&row.price) > 0);
        let priced: HashSet<String> = sold.map(|row| row.code.clone()).collect();
        let classify = |row: Row| {
            let mut class = class(&row, &mut held);
            if class == Class::Sold && !priced.contains(&row.code) {
                class = Class::Refused("NO_LIST_PRICE");
            }
            (row, class)
        };
        Self { rows: rows.into_iter().map(classify).collect() }
    }

    /// How many rows the file has.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// How many of them are in a class.
    pub fn count(&self, class: Class) -> u64 {
        self.rows.iter().filter(|(_, of)| *of == class).count() as u64
    }

    /// The reason of each refused row, by its line.
    pub fn refused(&self) -> BTreeMap<u64, String> {
        let refused = self.rows.iter().filter_map(|(row, class)| match class {
            Class::Refused(why) => Some((row.line, (*why).to_owned())),
            Class::Sold | Class::Returned => None,
        });
        refused.collect()
    }

    /// Units and pence per code, country and day: the day on the row itself.
    pub fn figures(&self) -> BTreeMap<Cell, Figures> {
        let mut figures: BTreeMap<Cell, Figures> = BTreeMap::new();
        for (row, class) in &self.rows {
            if matches!(class, Class::Refused(_)) {
                continue;
            }
            let cell = Cell { code: row.code.clone(), country: row.country.clone(), day: row.date[..10].to_owned() };
            let figures = figures.entry(cell).or_default();
            let (units, pence) = match class {
                Class::Sold => (&mut figures.units, &mut figures.pence),
                _ => (&mut figures.units_back, &mut figures.pence_back),
            };
            *units += row.quantity.abs();
            *pence += row.quantity.abs() * pence_of(&row.price);
        }
        figures
    }
}

fn class(row: &Row, held: &mut HashMap<[String; 4], Vec<i64>>) -> Class {
    if row.price.starts_with('-') && row.price.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        return Class::Refused("NEGATIVE_PRICE");
    }
    let decimals = row.price.split_once('.').map_or("", |(_, decimals)| decimals);
    if decimals.bytes().skip(2).any(|b| b != b'0') {
        return Class::Refused("SUB_MINOR_PRICE");
    }
    let number = row.invoice.trim_start_matches('C');
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) || row.invoice.len() > number.len() + 1 {
        return Class::Refused("UNKNOWN_INVOICE_KIND");
    }
    let credit = row.invoice.starts_with('C');
    if row.quantity == 0 {
        return Class::Refused("ZERO_QUANTITY");
    }
    if row.quantity < 0 && !credit {
        return Class::Refused("NEGATIVE_QUANTITY_WITHOUT_CREDIT");
    }
    if row.quantity > 0 && credit {
        return Class::Refused("POSITIVE_QUANTITY_ON_CREDIT");
    }
    let pence = pence_of(&row.price).to_string();
    let account = [row.customer.clone(), row.code.clone(), row.country.clone(), pence];
    if row.customer.is_empty() {
        return if credit { Class::Refused("CREDIT_WITHOUT_SALE") } else { Class::Sold };
    }
    let sales = held.entry(account).or_default();
    if !credit {
        sales.push(row.quantity);
        return Class::Sold;
    }
    let mut wanted = -row.quantity;
    if sales.iter().sum::<i64>() < wanted {
        return Class::Refused("CREDIT_WITHOUT_SALE");
    }
    let from = sales.iter().rposition(|left| *left >= wanted).unwrap_or(sales.len() - 1);
    while wanted > 0 {
        // Unit by unit: from the newest sale that has enough, else from the newest that has any.
        let place = if sales[from] > 0 { from } else { sales.iter().rposition(|left| *left > 0).unwrap_or(0) };
        sales[place] -= 1;
        wanted -= 1;
    }
    Class::Returned
}

fn pence_of(price: &str) -> i64 {
    let (pounds, pence) = price.split_once('.').unwrap_or((price, ""));
    let pounds: i64 = pounds.parse().expect("pounds");
    let pence: i64 = format!("{pence:0<2}")[..2].parse().expect("pence");
    pounds * 100 + pence
}

fn read(path: &Path) -> Vec<Row> {
    let mut bytes = Vec::new();
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|ending| ending == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    } else {
        { file }.read_to_end(&mut bytes).expect("a file");
    }
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.expect("the file has no broken line");
        let field = |n: usize| record[n].to_owned();
        Row {
            line: record.position().expect("a position").line(),
            invoice: field(0),
            code: field(1),
            quantity: record[3].parse().expect("a quantity"),
            date: field(4),
            price: field(5),
            customer: field(6),
            country: field(7),
        }
    };
    reader.records().map(row).collect()
}

/// The file's name of something that the shop names by a word: blanks come back from `-`, bytes from `~HH`.
pub fn name(word: &str) -> String {
    let mut parts = word.split('~');
    let mut name = parts.next().unwrap_or_default().replace('-', " ").into_bytes();
    for part in parts {
        name.push(u8::from_str_radix(&part[..2], 16).expect("two hexadecimal digits"));
        name.extend(part[2..].replace('-', " ").bytes());
    }
    String::from_utf8(name).expect("UTF-8")
}
