//! A payment provider and a carrier that misbehave on demand.
