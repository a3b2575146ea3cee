//! Groups of options. `options!` declares each option once, as a field; from the fields come the flags
//! (clap), the keys of the configuration file (serde) and the merge of the two. [`file`](super::file) reads
//! the keys.

use serde::de::DeserializeOwned;

/// A group of options that can be given as flags, as environment variables and in the configuration file.
pub trait Options: Default + DeserializeOwned {
    /// The keys of the configuration file, written with `_` in place of `-`.
    const FIELDS: &'static [&'static str];

    /// These options; where one is not set, the other's.
    #[must_use]
    fn or(self, other: Self) -> Self;

    /// Whether `key`, as it is written in the file, is an option of this group.
    fn has_key(key: &str) -> bool {
        !key.contains('_') && Self::FIELDS.contains(&key.replace('-', "_").as_str())
    }
}

/// Declares a group of options. Every field is an `Option`.
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: Option<$type:ty>, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: Option<$type>, )*
        }

        impl $crate::config::options::Options for $name {
            const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),*];

            fn or(self, other: Self) -> Self {
                Self { $( $field: self.$field.or(other.$field), )* }
            }
        }
    };
}
pub(super) use options;
