//! What an interrupted import has finished, so that the next run does not ask for it all again.
//!
//! The journal only ever saves work: every request is idempotent, so a journal that is lost, or that misses the last
//! moments before a crash, costs time and nothing else. A journal that says too much would cost sales, so one
//! that belongs to another file is refused, and so is one whose orders the shop does not know.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use domain::ids::OrderId;

use super::Error;

/// The first line, before the file's fingerprint.
const TITLE: &str = "cartulary import 1";

/// Finished tasks, by their places in the plan; of sales, the order.
#[derive(Debug, Default)]
pub(super) struct Journal {
    done: HashMap<usize, Option<OrderId>>,
    file: Option<File>,
}

impl Journal {
    /// Reads what is there and goes on behind it; makes the file when there is none.
    ///
    /// # Errors
    /// [`Error::Journal`] or [`Error::JournalOfAnother`].
    pub(super) fn open(path: &Path, fingerprint: &[u8; 32]) -> Result<Self, Error> {
        let failed = |source| Error::Journal { path: path.display().to_string(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let title = format!("{TITLE} {}\n", hex(fingerprint));
        let mut journal = Self::default();
        match text.strip_prefix(&title) {
            Some(lines) => {
                journal.done = lines.split_inclusive('\n').filter_map(entry).collect();
                // A line that a crash has cut is ended, or the next one would be glued to it.
                if !text.ends_with('\n') {
                    file.write_all(b"\n").map_err(failed)?;
                }
            }
            None if title.starts_with(&text) => {
                file.set_len(0).and_then(|()| file.write_all(title.as_bytes())).map_err(failed)?;
            }
            None => return Err(Error::JournalOfAnother { path: path.display().to_string() }),
        }
        journal.file = Some(file);
        Ok(journal)
    }

    /// Whether a task was finished, and as which order.
    pub(super) fn finished(&self, task: usize) -> Option<Option<OrderId>> {
        self.done.get(&task).copied()
    }

    /// An order that the shop must know if this journal is about it.
    pub(super) fn witness(&self) -> Option<OrderId> {
        self.done.values().copied().flatten().max()
    }

    /// Notes a finished task.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn finish(&mut self, task: usize, order: Option<OrderId>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let order = order.map_or_else(|| "-".to_owned(), |order| order.to_string());
        // One write per line: a crash cuts the last line at most.
        file.write_all(format!("{task} {order}\n").as_bytes())
    }
}

/// A whole line: the task and its order.
fn entry(line: &str) -> Option<(usize, Option<OrderId>)> {
    let (task, order) = line.strip_suffix('\n')?.split_once(' ')?;
    let order = if order == "-" { None } else { Some(order.parse().ok()?) };
    Some((task.parse().ok()?, order))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_finished_is_known_to_the_next_run_even_after_a_cut_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let order = OrderId::from_u128(7);
        let mut journal = Journal::open(&path, &[1; 32]).unwrap();
        assert_eq!((journal.finished(3), journal.witness()), (None, None));
        journal.finish(3, Some(order)).unwrap();
        journal.finish(12, None).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let mut journal = Journal::open(&path, &[1; 32]).unwrap();
        assert_eq!(
            (journal.finished(3), journal.finished(12)),
            (Some(Some(order)), None),
            "the cut line is not believed"
        );
        journal.finish(4, None).unwrap();
        let journal = Journal::open(&path, &[1; 32]).unwrap();
        assert_eq!((journal.finished(4), journal.finished(1)), (Some(None), None), "nothing is glued to it");
        assert_eq!(journal.witness(), Some(order));
    }

    #[test]
    fn a_journal_of_another_file_or_no_journal_at_all_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        drop(Journal::open(&path, &[1; 32]).unwrap());
        assert!(matches!(Journal::open(&path, &[2; 32]), Err(Error::JournalOfAnother { .. })));
        fs::write(&path, "dear diary").unwrap();
        assert!(matches!(Journal::open(&path, &[1; 32]), Err(Error::JournalOfAnother { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
        fs::write(&path, "cartulary imp").unwrap();
        assert!(Journal::open(&path, &[1; 32]).is_ok(), "a title that a crash has cut");
    }
}
