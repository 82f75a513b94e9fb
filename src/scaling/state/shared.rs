//! A part of a state that copies of the state share until one of them changes it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A shared value. A copy costs a count; a change of a value that others share copies the value first.
///
/// Each plan begins with a copy of the state. Most nodes of a quiet pool do not change from one pass to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Whether neither of both has changed since one was copied from the other.
    pub(crate) fn is(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Copies the value if it is shared: [`set`] leaves alone what does not change.
impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        T::deserialize(deserializer).map(Shared::from)
    }
}

/// Assigns a value to a field of a shared value, if the field has another one.
macro_rules! set {
    ($($place:ident).+ = $value:expr) => {{
        let value = $value;
        if $($place).+ != value {
            $($place).+ = value;
        }
    }};
}
pub(crate) use set;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_shared_until_one_of_both_changes() {
        #[derive(Clone)]
        struct Part {
            count: u64,
        }
        let one = Shared::from(Part { count: 1 });
        let mut other = one.clone();
        set!(other.count = 1);
        assert!(one.is(&other), "an equal value is no change");
        set!(other.count = 2);
        assert!(!one.is(&other));
        assert_eq!((one.count, other.count), (1, 2));
    }
}
