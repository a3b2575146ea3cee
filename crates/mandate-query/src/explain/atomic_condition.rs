//! Ways to turn one comparison, membership or test of a condition.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Pattern, PatternElem, ValueKind, Var};

use super::alternatives::ConditionAnalyzer;
use super::hierarchy::{membership_cuts, with_ancestors};
use super::repair::{AttributeOwner, AttributePath, Modification, Repair, RepairLocation};
use mandate_core::cedar;
use mandate_core::schema::{EntityUid, Schema, Type};
use mandate_core::value::Value;

impl ConditionAnalyzer<'_> {
    /// The ways to make an expression what is wanted, which it is not. What nothing is known for,
    /// leaves the explanation incomplete.
    pub fn repairs_to_make(&self, expr: &Expr, wanted: bool) -> Vec<Repair> {
        let alternatives = match expr.expr_kind() {
            ExprKind::GetAttr { .. } => self.assign_expr(expr, Value::Bool(wanted)),
            ExprKind::HasAttr { expr, attr } => {
                let attribute_path = self.attribute_path(&Expr::get_attr(Expr::clone(expr), attr.clone()));
                let modification =
                    if wanted { Modification::SetToAnyExcept(BTreeSet::new()) } else { Modification::Unset };
                attribute_path.map(|attribute_path| {
                    vec![Repair::single(RepairLocation::Value(attribute_path), modification)]
                })
            }
            ExprKind::Like { expr, pattern } if wanted => {
                self.assign_expr(expr, Value::String(shortest_match(pattern).into()))
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => self.comparison_repairs(*op, arg1, arg2, wanted),
            _ => None,
        };
        alternatives.unwrap_or_else(|| {
            if !is_unchangeable(expr) {
                self.meter.mark_incomplete();
            }
            Vec::new()
        })
    }

    fn comparison_repairs(
        &self,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        wanted: bool,
    ) -> Option<Vec<Repair>> {
        match op {
            BinaryOp::Eq if wanted => {
                self.operand_repairs(left, right, |attribute_path, value| self.assign(attribute_path, value))
            }
            BinaryOp::Eq => self.operand_repairs(left, right, |attribute_path, value| {
                self.assign_any_except(&attribute_path, [value].into())
            }),
            BinaryOp::Less | BinaryOp::LessEq => {
                // By how much the left is less than the right at least, or more at least.
                let gap = i64::from((op == BinaryOp::Less) == wanted);
                let gap = if wanted { gap } else { -gap };
                let at = |side: &Expr, other: &Expr, by: i64| {
                    let Value::Long(bound) = self.value(other)? else { return None };
                    self.assign_expr(side, Value::Long(bound.checked_add(by)?))
                };
                merge_optional(at(left, right, -gap), at(right, left, gap))
            }
            BinaryOp::In => self.in_repairs(left, right, wanted),
            BinaryOp::Contains => self.contains_repairs(left, right, wanted),
            BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                let (attribute_path, Value::Set(mine), Value::Set(others)) =
                    (self.attribute_path(left)?, self.value(left)?, self.value(right)?)
                else {
                    return None;
                };
                let each = others.iter().filter(|item| mine.contains(item) != wanted);
                let each = each.map(|item| self.element_repairs(&attribute_path, item, wanted));
                // All of them have to change, or any one of them does.
                if (op == BinaryOp::ContainsAll) == wanted {
                    let all = each.reduce(|all, one| self.meter.combine(&all, &one));
                    Some(all.unwrap_or_default())
                } else {
                    Some(each.flatten().collect())
                }
            }
            _ => None,
        }
    }

    /// For each side that can be changed, the ways to change it by the other's value.
    fn operand_repairs(
        &self,
        left: &Expr,
        right: &Expr,
        alternatives: impl Fn(AttributePath, Value) -> Vec<Repair>,
    ) -> Option<Vec<Repair>> {
        let side = |side, other| Some(alternatives(self.attribute_path(side)?, self.value(other)?));
        merge_optional(side(left, right), side(right, left))
    }

    /// `left in right`: by a membership, or by another reference on either side.
    fn in_repairs(&self, left: &Expr, right: &Expr, wanted: bool) -> Option<Vec<Repair>> {
        let (entity, of) = (self.entity(left)?, self.entities(right)?);
        let mut alternatives = self.membership_repairs(&entity, &of, wanted);
        if wanted {
            let to_one_of_them = self.attribute_path(left).map(|attribute_path| {
                of.iter()
                    .flat_map(|of| self.assign(attribute_path.clone(), Value::Entity(of.clone())))
                    .collect::<Vec<_>>()
            });
            alternatives.extend(to_one_of_them.into_iter().flatten());
            alternatives.extend(
                self.attribute_path(right)
                    .into_iter()
                    .flat_map(|attribute_path| self.naming_repairs(&attribute_path, &entity)),
            );
        }
        Some(alternatives)
    }

    /// The ways in which an entity comes to be in one of these, or in none.
    pub fn membership_repairs(&self, entity: &EntityUid, of: &[EntityUid], wanted: bool) -> Vec<Repair> {
        if !wanted {
            return membership_cuts(&self.hypothesis.entities, entity.as_uid_ref(), of, self.meter);
        }
        let possible =
            of.iter().filter(|of| self.hypothesis.schema().can_be_in(entity.entity_type, of.entity_type));
        let open =
            self.hypothesis.parents_reserved_for(entity).filter(|open| self.hypothesis.is_in(open, of));
        possible
            .chain(open)
            .map(|of| {
                Repair::single(RepairLocation::Membership(entity.clone(), of.clone()), Modification::Add)
            })
            .collect()
    }

    /// The ways in which a reference, or a set of them, names an entity or one that it is in.
    fn naming_repairs(&self, attribute_path: &AttributePath, entity: &EntityUid) -> Vec<Repair> {
        let all = with_ancestors(&self.hypothesis.entities, entity.as_uid_ref());
        if !self.meter.spend(u32::try_from(all.len()).unwrap_or(u32::MAX)) {
            return Vec::new();
        }
        // What does not fit the type of what stands there, gives no way.
        let set = matches!(
            self.hypothesis.attribute_definition(attribute_path).map(|it| &it.ty),
            Some(Type::Set(_))
        );
        let named = all.into_iter().map(Value::Entity);
        named
            .flat_map(|it| {
                if set {
                    self.element_repairs(attribute_path, &it, true)
                } else {
                    self.assign(attribute_path.clone(), it)
                }
            })
            .collect()
    }

    /// `set.contains(element)`: by the set, or by what the element is.
    fn contains_repairs(&self, set: &Expr, element: &Expr, wanted: bool) -> Option<Vec<Repair>> {
        let by_set = || Some(self.element_repairs(&self.attribute_path(set)?, &self.value(element)?, wanted));
        let by_element = || {
            let (attribute_path, Value::Set(items)) = (self.attribute_path(element)?, self.value(set)?)
            else {
                return None;
            };
            if !wanted {
                return Some(self.assign_any_except(&attribute_path, items.iter().cloned().collect()));
            }
            Some(items.iter().flat_map(|item| self.assign(attribute_path.clone(), item.clone())).collect())
        };
        merge_optional(by_set(), by_element())
    }

    fn element_repairs(&self, attribute_path: &AttributePath, element: &Value, comes: bool) -> Vec<Repair> {
        let ty = self.hypothesis.attribute_definition(attribute_path).map(|attribute| &attribute.ty);
        let fits = matches!(ty, Some(Type::Set(of)) if value_has_type(element, of, self.hypothesis.schema()));
        let modification = if comes { Modification::Add } else { Modification::Remove };
        let location = RepairLocation::Element(attribute_path.clone(), element.clone());
        fits.then(|| Repair::single(location, modification)).into_iter().collect()
    }

    fn assign_expr(&self, expr: &Expr, value: Value) -> Option<Vec<Repair>> {
        Some(self.assign(self.attribute_path(expr)?, value))
    }

    fn assign(&self, attribute_path: AttributePath, value: Value) -> Vec<Repair> {
        let attribute = self.hypothesis.attribute_definition(&attribute_path);
        let fits = attribute
            .is_some_and(|attribute| value_has_type(&value, &attribute.ty, self.hypothesis.schema()));
        fits.then(|| Repair::single(RepairLocation::Value(attribute_path), Modification::SetTo(value)))
            .into_iter()
            .collect()
    }

    /// The ways in which a value is none of these: any other, or each other where there are few.
    fn assign_any_except(&self, attribute_path: &AttributePath, not: BTreeSet<Value>) -> Vec<Repair> {
        let few: Vec<Value> =
            match self.hypothesis.attribute_definition(attribute_path).map(|attribute| &attribute.ty) {
                Some(Type::Bool) => vec![Value::Bool(false), Value::Bool(true)],
                Some(Type::Entity(entity_type)) => {
                    let ids = self.hypothesis.schema().entity_type(*entity_type).enum_ids.iter().flatten();
                    ids.map(|id| Value::Entity(EntityUid { entity_type: *entity_type, id: id.clone() }))
                        .collect()
                }
                _ => Vec::new(),
            };
        if few.is_empty() {
            // Of numbers, the next ones may be what other conditions leave.
            let numbers = not.iter().filter_map(|value| match value {
                Value::Long(number) => Some([number.checked_add(1), number.checked_sub(1)]),
                _ => None,
            });
            let next: Vec<i64> = numbers.flatten().flatten().collect();
            let any = Repair::single(
                RepairLocation::Value(attribute_path.clone()),
                Modification::SetToAnyExcept(not),
            );
            let next =
                next.into_iter().flat_map(|number| self.assign(attribute_path.clone(), Value::Long(number)));
            return next.chain([any]).collect();
        }
        let others = few.into_iter().filter(|value| !not.contains(value));
        others.flat_map(|value| self.assign(attribute_path.clone(), value)).collect()
    }

    /// Where an expression's value stands, if it stands anywhere.
    fn attribute_path(&self, expr: &Expr) -> Option<AttributePath> {
        match expr.expr_kind() {
            ExprKind::Var(Var::Context) => {
                Some(AttributePath { owner: AttributeOwner::Context, path: Vec::new() })
            }
            ExprKind::GetAttr { expr, attr } => {
                let mut attribute_path = match self.entity(expr) {
                    Some(entity) => AttributePath { owner: AttributeOwner::Entity(entity), path: Vec::new() },
                    None => self.attribute_path(expr)?,
                };
                attribute_path.path.push(attr.clone());
                Some(attribute_path)
            }
            _ => None,
        }
    }

    fn value(&self, expr: &Expr) -> Option<Value> {
        cedar::from_cedar_value(&(self.evaluate)(expr)?, self.hypothesis.schema())
    }

    /// The entity, or the set of entities, that an expression comes to.
    pub fn entities(&self, expr: &Expr) -> Option<Vec<EntityUid>> {
        let entity = |value: &Value| match value {
            Value::Entity(entity) => Some(entity.clone()),
            _ => None,
        };
        match self.value(expr)? {
            Value::Set(items) => items.iter().map(entity).collect(),
            value => Some(vec![entity(&value)?]),
        }
    }

    pub fn entity(&self, expr: &Expr) -> Option<EntityUid> {
        match (self.evaluate)(expr)?.value {
            ValueKind::Lit(Literal::EntityUID(uid)) => cedar::entity_uid(&uid, self.hypothesis.schema()),
            _ => None,
        }
    }
}

/// The ways of both, where there are any of one.
fn merge_optional(some: Option<Vec<Repair>>, others: Option<Vec<Repair>>) -> Option<Vec<Repair>> {
    match (some, others) {
        (Some(some), Some(others)) => Some([some, others].concat()),
        (some, others) => some.or(others),
    }
}

/// Whether nothing that could change is read: only who asks, for what, and on what.
fn is_unchangeable(expr: &Expr) -> bool {
    !expr.subexpressions().any(|part| {
        matches!(
            part.expr_kind(),
            ExprKind::GetAttr { .. }
                | ExprKind::Var(Var::Context)
                | ExprKind::BinaryApp { op: BinaryOp::GetTag | BinaryOp::HasTag, .. }
        )
    })
}

/// The shortest text that a pattern matches.
fn shortest_match(pattern: &Pattern) -> String {
    let literal = |element: &PatternElem| match element {
        PatternElem::Char(char) => Some(*char),
        PatternElem::Wildcard => None,
    };
    pattern.iter().filter_map(literal).collect()
}

fn value_has_type(value: &Value, ty: &Type, schema: &Schema) -> bool {
    match (value, ty) {
        (Value::Bool(_), Type::Bool) | (Value::Long(_), Type::Long) | (Value::String(_), Type::String) => {
            true
        }
        (Value::Entity(entity), Type::Entity(entity_type)) => {
            entity.entity_type == *entity_type
                && (schema.entity_type(*entity_type).enum_ids.is_none()
                    || schema.is_enumerated(entity.as_uid_ref()))
        }
        (Value::Set(items), Type::Set(element)) => {
            items.iter().all(|item| value_has_type(item, element, schema))
        }
        (Value::Record(record), Type::Record(ty)) => {
            let known = |(name, value): (&_, &_)| {
                let name: &smol_str::SmolStr = name;
                ty.get(name).is_some_and(|attribute| value_has_type(value, &attribute.ty, schema))
            };
            ty.iter().all(|(name, attribute)| !attribute.required || record.get(name).is_some())
                && record.iter().all(known)
        }
        (Value::Extension(extension, _), Type::Extension(of)) => extension == of,
        _ => false,
    }
}
