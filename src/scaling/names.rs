//! Names that programs read, as types.

/// Declares an enum with its name on the wire beside each variant, and names of older layouts, which are only read.
#[macro_export]
macro_rules! names {
    ($(#[$meta:meta])* pub enum $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal $(| $old:literal)*,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// Every one, in order.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                let name = String::deserialize(from)?;
                match name.as_str() {
                    $($name $(| $old)* => Ok($type::$variant),)*
                    _ => Err(serde::de::Error::custom("an unknown name")),
                }
            }
        }
    };
}

names! {
    /// The phase of a node, in the order of its life.
    pub enum PhaseName {
        /// This tick creates the node.
        New = "new",
        /// The create was sent, and the cloud does not list the server yet.
        Requested = "requested",
        /// The cloud builds the server.
        Building = "building",
        /// The server runs, and its startd has not joined.
        Booting = "booting",
        /// Joined, and no slot is claimed.
        Idle = "idle",
        /// Joined, and claimed.
        Busy = "busy",
        /// Joined, and not accepting jobs.
        Closed = "closed",
        Draining = "draining",
        Drained = "drained",
        /// No update in the collector for three update intervals.
        Silent = "silent",
        /// Not known, because a source does not answer.
        Unheard = "unknown" | "unheard",
        /// The server is paused, suspended or shelved.
        Inactive = "inactive",
        /// Silent after its token expired.
        Unreachable = "unreachable",
        /// Server and startd contradict each other.
        Unclear = "unclear",
        /// Adopted, and its pool is not confirmed.
        Untrusted = "untrusted",
        /// Without a valid `ehos_proof`.
        Unsigned = "unsigned",
        /// The server is off.
        Stopped = "stopped",
        /// Failed to boot.
        Failed = "failed",
        /// Silent for too long.
        Lost = "lost",
        /// The delete was sent.
        Deleting = "deleting",
        /// The server does not exist any more.
        Gone = "deleted" | "gone",
        /// The server never existed.
        Lapsed = "lapsed",
    }
}

impl PhaseName {
    /// Whether a node of this phase has a server, or may have.
    pub fn has_server(self) -> bool {
        !matches!(self, PhaseName::Gone | PhaseName::Lapsed)
    }
}

names! {
    /// An action, as reports name it.
    pub enum ActionName {
        /// A server is created.
        Create = "create",
        /// A server is deleted.
        Delete = "delete",
        /// A leftover is deleted.
        Remove = "remove",
        /// A floating IP is disassociated from its node.
        Disassociate = "disassociate",
        /// A startd is drained.
        Drain = "drain",
        /// A drain is cancelled.
        CancelDrain = "cancel_drain" | "cancel drain",
        /// Ads are invalidated.
        Invalidate = "invalidate",
        /// A negotiation cycle is requested.
        Reschedule = "reschedule",
    }
}

impl ActionName {
    /// Whether nothing depends on it: ads that stay are ignored, and a negotiation cycle starts by itself.
    pub fn is_minor(self) -> bool {
        matches!(self, ActionName::Invalidate | ActionName::Reschedule)
    }
}
