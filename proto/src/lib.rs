//! The public API: package cartulary.v1, its generated code, descriptors and policy table.
