//! The backends of a tick: a pool and its clouds.

use crate::cloud::Cloud;
use crate::pool::Pool;

/// A pool and its clouds.
pub struct Backends<'a> {
    pub pool: Box<dyn Pool + 'a>,
    pub clouds: Vec<Box<dyn Cloud + 'a>>,
}
