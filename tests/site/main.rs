//! Tests against real services. Each runs only where its environment variable names a built testbed, and says
//! otherwise that it was skipped.

#[cfg(test)]
mod condor;
