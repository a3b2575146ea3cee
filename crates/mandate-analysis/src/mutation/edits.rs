//! The mutants: small wrong edits that an author could make in a policy. Each is a span of the text and its
//! replacement. Nothing is tried here; that is `mutation`.

use std::ops::Range;

use cedar_policy::{Policy, PolicyId};
use cedar_policy_core::ast::{Expr, ExprKind, Literal, UnaryOp};
use cedar_policy_core::parser::cst::{Ident, PolicyImpl, VariableDef};
use cedar_policy_core::parser::text_to_cst::parse_policy;
use cedar_policy_core::parser::{Node, cst};
use smol_str::SmolStr;

use mandate_core::cedar;
use mandate_core::diagnostics::SourceSpan;
use mandate_core::policies::{Policies, PolicyInfo};
use mandate_core::schema::Schema;
use mandate_core::trace::{is_type_in_test, same_source_range, source_range};

/// A wrong edit of one policy.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// The `@id` of the policy.
    pub policy: SmolStr,
    pub operator: Operator,
    pub span: SourceSpan,
    pub replacement: String,
}

/// The kind of edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    RemovePolicy,
    FlipEffect,
    WidenScope,
    DropClause,
    NegateClause,
    SwapEnumValue,
}

impl Operator {
    pub fn describe(self) -> &'static str {
        match self {
            Self::RemovePolicy => "remove the policy",
            Self::FlipEffect => "permit ↔ forbid",
            Self::WidenScope => "widen the scope",
            Self::DropClause => "drop a clause",
            Self::NegateClause => "negate a clause",
            Self::SwapEnumValue => "swap an enumerated value",
        }
    }
}

impl Mutant {
    /// The text of the file with the edit.
    pub fn mutated_text(&self) -> String {
        let text = &self.span.source.text;
        let (before, rest) = text.split_at_checked(self.span.offset).unwrap_or((text, ""));
        let after = rest.get(self.span.length..).unwrap_or_default();
        format!("{before}{}{after}", self.replacement)
    }
}

/// Every mutant of every policy, in the order of the files.
pub fn mutants(policies: &Policies) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for info in policies.infos() {
        let policy = policies.cedar_policies().policy(&PolicyId::new(&info.id));
        if let (Some(span), Some(policy)) = (&info.span, policy) {
            MutantFinder { info, span, schema: policies.schema(), found: &mut mutants }.find(policy);
        }
    }
    mutants.sort_by(|a, b| {
        let key = |mutant: &Mutant| (mutant.span.source.name.clone(), mutant.span.offset, mutant.operator);
        key(a).cmp(&key(b))
    });
    mutants
}

struct MutantFinder<'a> {
    info: &'a PolicyInfo,
    span: &'a SourceSpan,
    schema: &'a Schema,
    found: &'a mut Vec<Mutant>,
}

impl MutantFinder<'_> {
    fn find(&mut self, policy: &Policy) {
        let whole = self.span.offset..self.span.offset + self.span.length;
        self.edit(Operator::RemovePolicy, whole.clone(), String::new());
        // The text is that of a loaded policy, so it parses.
        let parsed = self.text(&whole).and_then(|text| parse_policy(text).ok());
        if let Some(cst::Policy::Policy(parsed)) = parsed.and_then(|node| node.node) {
            self.head(&parsed);
        }
        if let Some(conditions) = policy.as_ref().non_scope_constraints() {
            self.operand(conditions, true);
        }
    }

    fn head(&mut self, policy: &PolicyImpl) {
        let other = match policy.effect.node {
            Some(Ident::Permit) => Some("forbid"),
            Some(Ident::Forbid) => Some("permit"),
            _ => None,
        };
        if let (Some(span), Some(other)) = (self.file_span(&policy.effect), other) {
            self.edit(Operator::FlipEffect, span, other.to_owned());
        }
        for variable in &policy.variables {
            self.scope(variable);
        }
    }

    /// Replaces a constraint of the scope with the bare variable.
    fn scope(&mut self, variable: &Node<Option<VariableDef>>) {
        let (Some(span), Some(def)) = (self.file_span(variable), &variable.node) else { return };
        let name = match def.variable.node {
            Some(Ident::Principal) => "principal",
            Some(Ident::Action) => "action",
            Some(Ident::Resource) => "resource",
            _ => return,
        };
        if def.entity_type.is_some() || def.ineq.is_some() {
            self.edit(Operator::WidenScope, span, name.to_owned());
        }
    }

    /// The span in the file of a node of the policy's own text.
    fn file_span<N>(&self, node: &Node<N>) -> Option<Range<usize>> {
        let loc = node.loc.as_ref()?;
        Some(self.span.offset + loc.start()..self.span.offset + loc.end())
    }

    /// Replaces an operand with `neutral`, the value that has no effect there.
    fn operand(&mut self, expr: &Expr, neutral: bool) {
        if let ExprKind::UnaryApp { op: UnaryOp::Not, arg } = expr.expr_kind()
            && !same_source_range(expr, arg)
        {
            return self.operand(arg, !neutral);
        }
        // The parser joins several `when` and `unless` into one expression with the span of the whole policy,
        // so there is no text of its own to replace.
        let whole = self.span.offset..self.span.offset + self.span.length;
        if let Some(span) = source_range(expr).filter(|span| *span != whole) {
            self.edit(Operator::DropClause, span, neutral.to_string());
        }
        self.condition(expr);
    }

    fn condition(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::And { left, right } if !is_type_in_test(left, right) => {
                self.chained(left, true);
                self.operand(right, true);
            }
            ExprKind::Or { left, right } => {
                self.chained(left, false);
                self.operand(right, false);
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                for part in [test_expr, then_expr, else_expr] {
                    self.condition(part);
                }
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } if !same_source_range(expr, arg) => {
                self.condition(arg);
            }
            _ => {
                if let Some(span) = source_range(expr) {
                    let text = self.text(&span).unwrap_or_default();
                    let negated = format!("!({text})");
                    self.edit(Operator::NegateClause, span, negated);
                }
                self.literals(expr);
            }
        }
    }

    /// The left side of a chain: `a && b` in `a && b && c` is not an operand of its own.
    fn chained(&mut self, left: &Expr, neutral: bool) {
        match (left.expr_kind(), neutral) {
            (ExprKind::And { left: first, right }, true) if !is_type_in_test(first, right) => {
                self.condition(left);
            }
            (ExprKind::Or { .. }, false) => self.condition(left),
            _ => self.operand(left, neutral),
        }
    }

    /// Replaces an enumerated value with each other value of its type.
    fn literals(&mut self, expr: &Expr) {
        for part in expr.subexpressions() {
            let ExprKind::Lit(Literal::EntityUID(uid)) = part.expr_kind() else { continue };
            let entity_type = cedar::entity_type(uid.entity_type(), self.schema);
            let values =
                entity_type.and_then(|entity_type| self.schema.entity_type(entity_type).enum_ids.as_ref());
            let (Some(values), Some(span)) = (values, source_range(part)) else { continue };
            let id: &str = uid.eid().as_ref();
            for other in values.iter().filter(|other| *other != id) {
                let text = format!("{}::\"{}\"", uid.entity_type(), other.escape_debug());
                self.edit(Operator::SwapEnumValue, span.clone(), text);
            }
        }
    }

    fn text(&self, span: &Range<usize>) -> Option<&str> {
        self.span.source.text.get(span.clone())
    }

    fn edit(&mut self, operator: Operator, span: Range<usize>, replacement: String) {
        self.found.push(Mutant {
            policy: self.info.id.clone(),
            operator,
            span: SourceSpan::new(&self.span.source, span.start, span.len()),
            replacement,
        });
    }
}
