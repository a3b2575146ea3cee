//! The table of the kinds of claims: what each is called in `@claim`, the effect it is written with, and
//! what it promises. How claims are read is in `claims`, how they are proven in `prove`.

use cedar_policy::Effect;
use smol_str::SmolStr;

/// The id of the claim that holds for all policies without being written.
pub const NEVER_ERRORS: &str = "never-errors";

/// What a claim says about the requests that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimKind {
    Never,
    Ceiling,
    Floor,
    Independent {
        attribute: SmolStr,
    },
    /// No policy and no guardrail ever errors. The only kind that is not written.
    NeverErrors,
}

/// Declares the kinds that can be written, a row for each: variant, name, effect, and the promise.
macro_rules! written_kinds {
    ($($variant:ident, $name:literal, $effect:ident, $promise:literal;)*) => {
        /// A kind of claim as it is written in `@claim`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum WrittenKind {
            $(#[doc = $promise] $variant,)*
        }

        impl WrittenKind {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The effect that the claim has to be written with, so that it reads as what it promises.
            pub const fn effect(self) -> Effect {
                match self { $(Self::$variant => Effect::$effect,)* }
            }

            /// What the claim promises, as a clause after "that".
            pub const fn promise(self) -> &'static str {
                match self { $(Self::$variant => $promise,)* }
            }
        }
    };
}

written_kinds! {
    Never, "never", Forbid, "no request that it matches is ever permitted";
    Ceiling, "ceiling", Permit, "no request in its scope but outside its conditions is ever permitted";
    Floor, "floor", Permit, "every request that it matches is always permitted";
    Independent, "independent", Permit,
        "the decision on a request that it matches does not depend on an attribute";
}

impl ClaimKind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Never => WrittenKind::Never.name(),
            Self::Ceiling => WrittenKind::Ceiling.name(),
            Self::Floor => WrittenKind::Floor.name(),
            Self::Independent { .. } => WrittenKind::Independent.name(),
            Self::NeverErrors => NEVER_ERRORS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WrittenKind;

    #[test]
    fn every_kind_has_a_row_in_the_docs() {
        let docs = include_str!("../../../docs/guardrails.md");
        for kind in WrittenKind::ALL {
            let row = format!("| `{}` | `{}` |", kind.name(), kind.effect());
            assert!(docs.lines().any(|line| line.starts_with(&row)), "docs/guardrails.md has no row {row}");
        }
    }
}
