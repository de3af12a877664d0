//! The ids that keys and records are made of. Each is a type of its own, so that no call can mix them up.
//!
//! An id from outside has been checked where it was read (`json::fields::Fields::id`): it has 1 to 256 bytes and no
//! control characters. The store takes ids as texts, because it only writes them into keys.

use std::{fmt, ops::Deref};

use serde::Serialize;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as records hold it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            /// Returns the id as a text.
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            /// Returns the id as a text.
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// Writes the id as it is.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            /// Takes a text for an id. Nothing is checked.
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            /// Takes a text for an id. Nothing is checked.
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl From<$name> for String {
            /// Returns the id as a text.
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<&$name> for String {
            /// Returns the id as a text.
            fn from(id: &$name) -> Self {
                id.0.clone()
            }
        }
    };
}

id! {
    /// The id of a trigger.
    TriggerId
}

id! {
    /// The id of the user for whom an agent acts. It is empty where only the trigger is known.
    UserId
}

id! {
    /// The id of an execution: a UUIDv7, unless the event names an execution of another origin.
    ExecutionId
}
