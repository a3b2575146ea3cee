//! The paths of endpoints.

/// The paths of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointPath {
    Exact(&'static str),
    /// All paths that begin with this.
    Prefix(&'static str),
    /// All paths that begin with the first and end with the second.
    Between(&'static str, &'static str),
}

impl EndpointPath {
    /// Whether a path is one of these.
    pub fn matches(self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Between(prefix, suffix) => {
                path.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
            }
        }
    }

    /// The path without its variable end.
    pub fn fixed_part(self) -> &'static str {
        match self {
            Self::Exact(path) | Self::Prefix(path) | Self::Between(path, _) => path,
        }
    }

    /// The path as the `OpenAPI` document has it.
    pub fn template(self) -> String {
        match self {
            Self::Exact(path) => path.to_owned(),
            Self::Prefix(prefix) => format!("{prefix}{{path}}"),
            Self::Between(prefix, suffix) => format!("{prefix}{{path}}{suffix}"),
        }
    }
}
