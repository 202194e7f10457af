//! The checksum of a stored event: CRC-32C over what the writer knows of it.
//!
//! Position and time are given by the server and not part of it: that positions and revisions are dense is checked
//! by every reader instead. The lengths are part of the sum, so bytes cannot move from one column to the next.

use crc32c::{crc32c, crc32c_append};

/// The columns of an event, as stored.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// `stream`.
    pub stream: &'a str,
    /// `revision`.
    pub revision: i64,
    /// `event_id`.
    pub id: &'a [u8; 16],
    /// `kind`.
    pub kind: &'a str,
    /// `data`.
    pub data: &'a [u8],
    /// `metadata`.
    pub metadata: &'a [u8],
}

impl Columns<'_> {
    /// The checksum that belongs to these columns; PostgreSQL has no unsigned integers.
    pub fn checksum(&self) -> i32 {
        let texts = [self.stream.as_bytes(), self.kind.as_bytes(), self.data, self.metadata];
        let sum = crc32c_append(crc32c(&self.revision.to_be_bytes()), self.id);
        let sum = texts.iter().fold(sum, |sum, text| crc32c_append(sum, &(text.len() as u64).to_be_bytes()));
        texts.iter().fold(sum, |sum, text| crc32c_append(sum, text)).cast_signed()
    }
}
