//! View rows in an embedded SQLite file (the default).
