//! The read side: the engine that folds the log into views, and the views.
//!
//! Facts come from the log port, rows go to the view store port; between them stand pure folds, one file
//! per view under [`views`]. Nothing here knows how a command was decided: both sides meet in the log.

pub mod engine;
pub mod event;
pub mod fold;
pub mod key;
pub mod positions;
pub mod reader;
pub mod rebuild;
pub mod sealed;
pub mod verify;
pub mod view;
pub mod views;

#[cfg(test)]
mod testing;
