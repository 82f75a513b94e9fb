//! What stands behind a tick: a pool and its clouds.

use crate::cloud::Cloud;
use crate::pool::Pool;

/// A pool and its clouds.
pub struct Backends<'a> {
    /// The pool.
    pub pool: Box<dyn Pool + 'a>,
    /// The clouds.
    pub clouds: Vec<Box<dyn Cloud + 'a>>,
}
