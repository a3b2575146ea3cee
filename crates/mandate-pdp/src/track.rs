//! A track is content that is reloaded independently of other content.

/// What is reloaded by itself: policies with their schema and routes, or entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackName {
    Policies,
    Entities,
}

impl TrackName {
    pub const ALL: [Self; 2] = [Self::Policies, Self::Entities];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Entities => "entities",
        }
    }
}
