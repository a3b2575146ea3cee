//! The table of lint rules: what each is called, what it finds and where. How a rule is checked is in
//! `solver_rules`, `annotations` and `unused`.

use serde::{Serialize, Serializer};

/// A lint rule, by where it finds something. Findings at the same place are listed in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// In what a policy does. Only the solver can tell, except where the scope matches no environment.
    Solver(SolverRule),
    /// In a policy's text.
    Annotation(AnnotationRule),
    /// In the annotation `@allow` of a policy.
    UnneededAllow,
    /// In the schema.
    Schema(SchemaRule),
}

/// Declares a group of rules, a row for each: variant, name, and what the rule finds, as a noun.
macro_rules! rules {
    ($group:ident: $($variant:ident, $name:literal, $finds:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $group {
            $(#[doc = $finds] $variant,)*
        }

        impl $group {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            const fn finds(self) -> &'static str {
                match self { $(Self::$variant => $finds,)* }
            }
        }
    };
}

rules! { SolverRule:
    NeverMatches, "never-matches", "a policy that no request matches";
    Shadowed, "shadowed", "a permit whose every request is denied by a forbid";
    Redundant, "redundant", "a policy without which every decision is the same";
}

rules! { AnnotationRule:
    Unconditional, "unconditional", "a permit without `when` or `unless`";
    MissingId, "missing-id", "a policy without an `@id`";
    MissingReason, "missing-reason", "a policy without a `@reason`";
}

rules! { SchemaRule:
    UnusedEntityType, "unused-entity-type", "an entity type that no decision can read";
    UnusedAction, "unused-action", "an action that no permit applies to";
}

impl Rule {
    /// The rules that need the solver.
    pub const SOLVER_RULES: [Self; SolverRule::ALL.len()] = [
        Self::Solver(SolverRule::NeverMatches),
        Self::Solver(SolverRule::Shadowed),
        Self::Solver(SolverRule::Redundant),
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Solver(rule) => rule.name(),
            Self::Annotation(rule) => rule.name(),
            Self::UnneededAllow => "unneeded-allow",
            Self::Schema(rule) => rule.name(),
        }
    }

    /// What the rule finds, as a noun: "a policy that no request matches".
    pub const fn finds(self) -> &'static str {
        match self {
            Self::Solver(rule) => rule.finds(),
            Self::Annotation(rule) => rule.finds(),
            Self::UnneededAllow => "an `@allow` that accepts nothing",
            Self::Schema(rule) => rule.finds(),
        }
    }

    /// The rules that `@allow` can name: those about one policy.
    pub fn allowable() -> impl Iterator<Item = Self> {
        let in_text = AnnotationRule::ALL.into_iter().map(Self::Annotation);
        SolverRule::ALL.into_iter().map(Self::Solver).chain(in_text)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Rule, SchemaRule, SolverRule};

    fn all() -> Vec<Rule> {
        let schema = SchemaRule::ALL.into_iter().map(Rule::Schema);
        Rule::allowable().chain([Rule::UnneededAllow]).chain(schema).collect()
    }

    #[test]
    fn every_rule_has_its_own_name_and_a_row_in_the_docs() {
        let docs = include_str!("../../../../docs/policies.md");
        let names: BTreeSet<&str> = all().into_iter().map(Rule::name).collect();
        assert_eq!(names.len(), all().len());
        for name in names {
            let quoted = format!("`{name}`");
            let row = docs.lines().find(|line| line.starts_with("| `") && line.contains(&quoted));
            assert!(row.is_some(), "docs/policies.md has no row for {name}");
        }
    }

    #[test]
    fn the_rules_that_need_the_solver_are_those_of_its_group() {
        assert_eq!(Rule::SOLVER_RULES, SolverRule::ALL.map(Rule::Solver));
    }
}
