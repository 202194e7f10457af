//! The checksum of a stored event: CRC-32C over every column and the stream's name.
//!
//! SQLite checks its own structure, not our bytes; a disk may flip any of them. The lengths are part of the
//! sum, so bytes cannot move from one column to the next.

use crc32c::{crc32c, crc32c_append};

/// The columns of an event, as stored.
pub struct Columns<'a> {
    /// `position`.
    pub position: i64,
    /// `streams.name`.
    pub stream: &'a [u8],
    /// `revision`.
    pub revision: i64,
    /// `event_id`.
    pub id: &'a [u8],
    /// `kind`.
    pub kind: &'a [u8],
    /// `recorded_at`, microseconds since 1970.
    pub recorded_at: i64,
    /// `data`.
    pub data: &'a [u8],
    /// `metadata`.
    pub metadata: &'a [u8],
}

impl Columns<'_> {
    /// The checksum that belongs to these columns.
    pub fn checksum(&self) -> u32 {
        let mut numbers = [0; 56];
        let (fixed, lengths) = numbers.split_at_mut(24);
        let values = [self.position, self.revision, self.recorded_at];
        for (place, value) in fixed.chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        let texts = [self.stream, self.kind, self.data, self.metadata];
        for (place, text) in lengths.chunks_exact_mut(8).zip(texts) {
            place.copy_from_slice(&(text.len() as u64).to_be_bytes());
        }
        texts.iter().fold(crc32c_append(crc32c(&numbers), self.id), |sum, text| crc32c_append(sum, text))
    }
}
