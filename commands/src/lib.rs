//! The write side: the command desk, the codec, the process runner.
