//! The command line as people type it, and the answers as they see them.

mod answers;
mod documents;
mod usage;
