//! Acceptance, vendors, simulation, benches, tidy.
