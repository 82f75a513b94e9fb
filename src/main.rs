//! The `ehos` command.

fn main() {}
