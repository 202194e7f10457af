//! The one door: gRPC and JSON services, the command line, the composition root.
