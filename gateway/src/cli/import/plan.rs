//! What has to be done to replay a file: the products to list, and the sales and returns in the order of time.
//!
//! The plan is a pure function of the file, so a second run makes the same requests. A sale is an invoice, a
//! return is what one credit note takes back from one sale. An invoice that spans customers, countries or days
//! (none does so far) is several sales, so no row lands on another's figures; one that spans
//! minutes happened at its first. A return happens at the last minute of its credit note, never before its sale.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::BufRead,
};

use jiff::{Timestamp, civil::Date, tz::Offset};

use super::{
    classify::{Kind, Reason, Refused, Row, classify},
    matching::Ledger,
    row::{FileError, Reader},
};

/// Everything there is to do, and every row that nothing is done for.
#[derive(Debug)]
pub struct Plan {
    /// The hash of the file's content.
    pub fingerprint: [u8; 32],
    /// Rows in the file.
    pub rows: u64,
    /// When the first row happened; products are listed then.
    pub begins: Timestamp,
    /// Products, in the order of their first sale.
    pub products: Vec<Product>,
    /// Sales and returns in the order of time; a return comes after its sale.
    pub tasks: Vec<Task>,
    /// Rows that mean nothing the shop can do.
    pub refused: Vec<Refused>,
}

/// A stock code as a product with one SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The stock code.
    pub code: String,
    /// The description that most of its sales have; the code where none has one.
    pub name: String,
    /// The price that most of its sales have, those at no price aside; in minor units.
    pub price: i64,
    /// Units sold in the whole file.
    pub units: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// When it happened.
    pub at: Timestamp,
    /// The invoice or credit note.
    pub invoice: String,
    /// The sale that a return undoes, by its place among the tasks; `None` for a sale.
    pub undoes: Option<usize>,
    /// The customer's number; `None` for a guest.
    pub customer: Option<String>,
    /// The country.
    pub country: String,
    /// The rows of the file it comes from.
    pub lines: Vec<Line>,
}

/// Units of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line in the file.
    pub line: u64,
    /// The product, by its place in the plan.
    pub product: usize,
    /// Units.
    pub units: u32,
    /// The unit price in minor units.
    pub price: i64,
}

/// Reads a file to its end and plans its replay.
///
/// # Errors
/// [`FileError`].
pub fn plan(input: impl BufRead) -> Result<Plan, FileError> {
    let mut reader = Reader::open(input)?;
    let (mut count, mut rows, mut refused) = (0, Vec::new(), Vec::new());
    while let Some(read) = reader.next_row()? {
        count += 1;
        match read {
            Ok(raw) => match classify(raw) {
                Ok(row) => rows.push(row),
                Err(no) => refused.push(no),
            },
            Err(broken) => refused.push(Refused { line: broken.line, reason: Reason::BadRow, detail: broken.detail }),
        }
    }
    // By time; rows of one moment stay as in the file.
    rows.sort_by_key(|row| row.at);
    let mut draft = Draft::default();
    let priced = rows.iter().filter(|row| row.kind == Kind::Sale && row.price > 0);
    let priced: HashSet<&str> = priced.map(|row| row.code.as_str()).collect();
    for row in &rows {
        match row.kind {
            Kind::Sale if !priced.contains(row.code.as_str()) => {
                refused.push(Refused { line: row.line, reason: Reason::NoListPrice, detail: row.code.clone() });
            }
            Kind::Sale => draft.sale(row),
            Kind::Credit => draft.credit(row, &mut refused),
        }
    }
    let (products, tasks) = draft.finish();
    refused.sort_by_key(|refused| refused.line);
    let begins = rows.first().map(|row| row.at).unwrap_or_default();
    Ok(Plan { fingerprint: reader.fingerprint(), rows: count, begins, products, tasks, refused })
}

/// What rows belong together to, with the day as the shop counts days.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group {
    invoice: String,
    customer: Option<String>,
    country: String,
    day: Date,
    undoes: Option<usize>,
}

impl Group {
    fn of(row: &Row, undoes: Option<usize>) -> Self {
        let (invoice, customer, country) = (row.invoice.clone(), row.customer.clone(), row.country.clone());
        Self { invoice, customer, country, day: Offset::UTC.to_datetime(row.at).date(), undoes }
    }
}

/// A plan while rows are put into it, in the order of time.
#[derive(Default)]
struct Draft {
    products: Vec<Candidate>,
    codes: HashMap<String, usize>,
    tasks: Vec<Task>,
    groups: HashMap<Group, usize>,
    ledger: Ledger,
}

/// A product while its rows are counted.
struct Candidate {
    code: String,
    units: u64,
    names: Votes<String>,
    prices: Votes<i64>,
}

/// How often each value came, and which came first.
struct Votes<T>(BTreeMap<T, (u64, u64)>);

impl<T: Ord + Clone> Votes<T> {
    fn cast(&mut self, value: T) {
        let order = self.0.len() as u64;
        self.0.entry(value).or_insert((0, order)).0 += 1;
    }

    /// The most frequent value; of equals, the one that came first.
    fn winner(&self) -> Option<T> {
        let most = self.0.iter().max_by_key(|(_, (count, order))| (*count, std::cmp::Reverse(*order)));
        most.map(|(value, _)| value.clone())
    }
}

impl Draft {
    fn sale(&mut self, row: &Row) {
        let product = self.product(row);
        let task = self.task(Group::of(row, None), row);
        self.ledger.sell(row, task);
        self.tasks[task].lines.push(Line { line: row.line, product, units: row.units, price: row.price });
    }

    fn credit(&mut self, row: &Row, refused: &mut Vec<Refused>) {
        // Only what was sold can come back, so its product is known.
        let parts = self.ledger.credit(row).zip(self.codes.get(&row.code).copied());
        let Some((parts, product)) = parts else {
            let detail = if row.customer.is_some() { "" } else { "a guest" };
            refused.push(Refused { line: row.line, reason: Reason::CreditWithoutSale, detail: detail.into() });
            return;
        };
        for part in parts {
            let task = self.task(Group::of(row, Some(part.sale)), row);
            let task = &mut self.tasks[task];
            task.at = task.at.max(row.at);
            task.lines.push(Line { line: row.line, product, units: part.units, price: row.price });
        }
    }

    fn product(&mut self, row: &Row) -> usize {
        let place = *self.codes.entry(row.code.clone()).or_insert_with(|| {
            let (names, prices) = (Votes(BTreeMap::new()), Votes(BTreeMap::new()));
            self.products.push(Candidate { code: row.code.clone(), units: 0, names, prices });
            self.products.len() - 1
        });
        let candidate = &mut self.products[place];
        candidate.units += u64::from(row.units);
        if !row.description.is_empty() {
            candidate.names.cast(row.description.clone());
        }
        if row.price > 0 {
            candidate.prices.cast(row.price);
        }
        place
    }

    fn task(&mut self, group: Group, row: &Row) -> usize {
        let (invoice, customer, country) = (group.invoice.clone(), group.customer.clone(), group.country.clone());
        let undoes = group.undoes;
        *self.groups.entry(group).or_insert_with(|| {
            self.tasks.push(Task { at: row.at, invoice, undoes, customer, country, lines: Vec::new() });
            self.tasks.len() - 1
        })
    }

    /// Puts the tasks in their final order, and names sales by their places in it.
    fn finish(self) -> (Vec<Product>, Vec<Task>) {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by_key(|&task| (self.tasks[task].at, self.tasks[task].undoes.is_some()));
        let mut places = vec![0; order.len()];
        for (place, &task) in order.iter().enumerate() {
            places[task] = place;
        }
        let mut tasks: Vec<(usize, Task)> = self.tasks.into_iter().enumerate().collect();
        tasks.sort_by_key(|(task, _)| places[*task]);
        let tasks = tasks.into_iter().map(|(_, task)| Task { undoes: task.undoes.map(|sale| places[sale]), ..task });
        let products = self.products.into_iter().map(|candidate| Product {
            name: candidate.names.winner().unwrap_or_else(|| candidate.code.clone()),
            price: candidate.prices.winner().unwrap_or(0),
            code: candidate.code,
            units: candidate.units,
        });
        (products.collect(), tasks.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file from rows of `invoice code description quantity time price customer`, in Germany.
    fn planned(rows: &[&str]) -> Plan {
        let mut file = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n".to_owned();
        for row in rows {
            let words: Vec<&str> = row.split(' ').collect();
            let &[invoice, code, description, quantity, time, price, customer] = &words[..] else {
                panic!("seven words: {row}")
            };
            let customer = customer.trim_matches('-');
            file +=
                &format!("{invoice},{code},{description},{quantity},2010-12-{time}:00,{price},{customer},Germany\n")
                    .replace('_', " ");
        }
        plan(file.as_bytes()).unwrap()
    }

    /// Tasks as `invoice[<sale]: line/units …`.
    fn check(rows: &[&str], tasks: &[&str], refused: &[&str]) {
        let plan = planned(rows);
        let line = |line: &Line| format!("{}/{}", line.line, line.units);
        let shown: Vec<String> = plan
            .tasks
            .iter()
            .map(|task| {
                let undoes = task.undoes.map(|sale| format!("<{sale}")).unwrap_or_default();
                let lines: Vec<String> = task.lines.iter().map(line).collect();
                format!("{}{undoes}: {}", task.invoice, lines.join(" "))
            })
            .collect();
        assert_eq!(shown, tasks);
        let shown: Vec<String> = plan.refused.iter().map(|no| format!("{} {}", no.line, no.reason)).collect();
        assert_eq!(shown, refused);
        let mut lines: Vec<u64> = plan.tasks.iter().flat_map(|task| &task.lines).map(|line| line.line).collect();
        lines.extend(plan.refused.iter().map(|no| no.line));
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len() as u64, plan.rows, "every row is somewhere");
    }

    #[test]
    fn an_invoice_is_a_sale_and_a_credit_note_a_return_per_sale_it_undoes() {
        check(
            &[
                "100 A mug 5 01_08:00 1.00 7",
                "100 B cup 2 01_08:00 2.00 7",
                "101 A mug 2 01_09:00 1.00 7",
                "C102 B cup -1 01_10:00 2.00 7",
                "C102 A mug -2 01_10:00 1.00 7",
                "C102 A mug -1 01_10:00 1.00 7",
            ],
            &["100: 2/5 3/2", "101: 4/2", "102<0: 5/1 7/1", "102<1: 6/2"],
            &[],
        );
    }

    #[test]
    fn time_decides_and_not_the_place_in_the_file() {
        check(
            &[
                "C102 A mug -1 01_10:00 1.00 7",
                "101 A mug 2 01_11:00 1.00 7",
                "100 A mug 1 01_09:00 1.00 7",
                "C103 A mug -3 01_12:00 1.00 7",
            ],
            &["100: 4/1", "102<0: 2/1", "101: 3/2"],
            &["5 CREDIT_WITHOUT_SALE"],
        );
    }

    #[test]
    fn a_return_never_comes_before_its_sale_even_where_their_minutes_overlap() {
        check(
            &[
                "100 A mug 1 01_09:00 1.00 7",
                "C102 A mug -1 01_09:01 1.00 7",
                "101 B cup 1 01_09:02 1.00 7",
                "C102 B cup -1 01_09:03 1.00 7",
            ],
            &["100: 2/1", "102<0: 3/1", "101: 4/1", "102<2: 5/1"],
            &[],
        );
    }

    #[test]
    fn rows_of_one_invoice_number_that_cannot_be_one_order_are_several() {
        check(
            &["100 A mug 1 01_23:59 1.00 7", "100 A mug 1 01_23:59 1.00 8", "100 A mug 1 02_00:00 1.00 7"],
            &["100: 2/1", "100: 3/1", "100: 4/1"],
            &[],
        );
        check(&["100 A mug 1 01_09:00 1.00 7", "100 A mug 1 01_09:01 1.00 7"], &["100: 2/1 3/1"], &[]);
    }

    #[test]
    fn equal_rows_are_two_lines_and_a_guest_returns_nothing() {
        check(
            &["100 A mug 1 01_09:00 1.00 -", "100 A mug 1 01_09:00 1.00 -", "C101 A mug -1 01_10:00 1.00 -"],
            &["100: 2/1 3/1"],
            &["4 CREDIT_WITHOUT_SALE"],
        );
    }

    #[test]
    fn a_product_has_the_name_and_price_of_most_of_its_sales() {
        let plan = planned(&[
            "100 A odd 1 01_09:00 9.00 7",
            "101 A mug 2 01_10:00 1.00 7",
            "102 A mug 3 01_11:00 1.00 7",
            "103 A  4 01_12:00 0.0 7",
            "104 B  4 01_12:00 0.0 7",
            "C105 C never -4 01_13:00 1.00 7",
            "106 D  1 01_14:00 3.00 7",
        ]);
        let shown: Vec<String> =
            plan.products.iter().map(|p| format!("{} {} {} {}", p.code, p.name, p.price, p.units)).collect();
        assert_eq!(shown, ["A mug 100 10", "D D 300 1"]);
        let refused: Vec<String> = plan.refused.iter().map(|no| format!("{} {}", no.line, no.reason)).collect();
        assert_eq!(refused, ["6 NO_LIST_PRICE", "7 CREDIT_WITHOUT_SALE"]);
    }
}
