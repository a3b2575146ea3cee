//! The repairs that change the value of one atomic condition: a comparison, a membership, or a test for an
//! attribute. Operators that combine conditions are in `policy_alternatives`; whether a repair leads to a
//! permit is decided in `repair_search`.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Pattern, PatternElem, Var};

use super::condition_analyzer::ConditionAnalyzer;
use super::hierarchy::membership_cuts;
use super::repair::{AttributePath, Modification, Repair, RepairLocation};
use mandate_core::schema::{EntityUid, EntityUidRef, Schema, Type};
use mandate_core::value::Value;

impl ConditionAnalyzer<'_> {
    /// The repairs that would give the expression the wanted value. An expression of an unsupported kind
    /// marks the explanation incomplete.
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
                // The minimal difference between right and left: 1 for `<`, 0 for `<=`. If the comparison
                // has to fail, the minimal difference between left and right: 0 for `<`, 1 for `<=`.
                let gap = i64::from((op == BinaryOp::Less) == wanted);
                let gap = if wanted { gap } else { -gap };
                let shift = |operand: &Expr, other: &Expr, by: i64| {
                    let Value::Long(bound) = self.value(other)? else { return None };
                    self.assign_expr(operand, Value::Long(bound.checked_add(by)?))
                };
                merge_optional(shift(left, right, -gap), shift(right, left, gap))
            }
            BinaryOp::ContainsAll | BinaryOp::ContainsAny => self.subset_repairs(op, left, right, wanted),
            BinaryOp::In => self.in_repairs(left, right, wanted),
            BinaryOp::Contains => self.contains_repairs(left, right, wanted),
            _ => None,
        }
    }

    /// Repairs of `containsAll` and `containsAny`, by which a set gains or loses elements of the other.
    fn subset_repairs(&self, op: BinaryOp, left: &Expr, right: &Expr, wanted: bool) -> Option<Vec<Repair>> {
        let (attribute_path, Value::Set(mine), Value::Set(others)) =
            (self.attribute_path(left)?, self.value(left)?, self.value(right)?)
        else {
            return None;
        };
        let each = others.iter().filter(|item| mine.contains(item) != wanted);
        let each = each.map(|item| self.element_repairs(&attribute_path, item, wanted));
        // All of them have to change, or any one of them does.
        if (op == BinaryOp::ContainsAll) == wanted {
            Some(each.reduce(|all, one| self.meter.combine(&all, &one)).unwrap_or_default())
        } else {
            Some(each.flatten().collect())
        }
    }

    /// The repairs of each operand that reads an attribute, made from the value of the other operand.
    fn operand_repairs(
        &self,
        left: &Expr,
        right: &Expr,
        alternatives: impl Fn(AttributePath, Value) -> Vec<Repair>,
    ) -> Option<Vec<Repair>> {
        let repairs = |operand, other| Some(alternatives(self.attribute_path(operand)?, self.value(other)?));
        merge_optional(repairs(left, right), repairs(right, left))
    }

    /// `left in right`: by a membership, or by another reference in either operand.
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

    /// Repairs that put the entity into one of the others, or (if `wanted` is false) take it out of all of
    /// them.
    pub fn membership_repairs(&self, entity: &EntityUid, of: &[EntityUid], wanted: bool) -> Vec<Repair> {
        if !wanted {
            return membership_cuts(self.hypothesis, entity.as_uid_ref(), of, self.meter);
        }
        let possible =
            of.iter().filter(|of| self.hypothesis.schema().can_be_in(entity.entity_type, of.entity_type));
        let reserved =
            self.hypothesis.parents_reserved_for(entity).filter(|parent| self.hypothesis.is_in(parent, of));
        possible
            .chain(reserved)
            .map(|of| {
                Repair::single(RepairLocation::Membership(entity.clone(), of.clone()), Modification::Add)
            })
            .collect()
    }

    /// Repairs by which a reference, or a set of references, names an entity or one of its ancestors.
    fn naming_repairs(&self, attribute_path: &AttributePath, entity: &EntityUid) -> Vec<Repair> {
        let all: Vec<EntityUidRef<'_>> =
            self.hypothesis.entities.with_ancestors(entity.as_uid_ref()).collect();
        if !self.meter.spend(u32::try_from(all.len()).unwrap_or(u32::MAX)) {
            return Vec::new();
        }
        let is_set = matches!(
            self.hypothesis.attribute_definition(attribute_path).map(|it| &it.ty),
            Some(Type::Set(_))
        );
        // An entity that does not have the type of the attribute leads to no repair.
        let values = all.into_iter().map(|uid| Value::Entity(uid.to_owned()));
        values
            .flat_map(|value| {
                if is_set {
                    self.element_repairs(attribute_path, &value, true)
                } else {
                    self.assign(attribute_path.clone(), value)
                }
            })
            .collect()
    }

    /// `set.contains(element)`: by another set, or by another element.
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

    fn element_repairs(&self, attribute_path: &AttributePath, element: &Value, add: bool) -> Vec<Repair> {
        let ty = self.hypothesis.attribute_definition(attribute_path).map(|attribute| &attribute.ty);
        let fits = matches!(ty, Some(Type::Set(of)) if value_has_type(element, of, self.hypothesis.schema()));
        let modification = if add { Modification::Add } else { Modification::Remove };
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

    /// Repairs that give an attribute a value that is not in `not`. If its type has few values, each of them
    /// is a repair of its own; otherwise one repair leaves the value open.
    fn assign_any_except(&self, attribute_path: &AttributePath, not: BTreeSet<Value>) -> Vec<Repair> {
        let ty = self.hypothesis.attribute_definition(attribute_path).map(|attribute| &attribute.ty);
        let all = ty.map(|ty| all_values(ty, self.hypothesis.schema())).unwrap_or_default();
        if all.is_empty() {
            // Another condition may leave only the next or the previous number.
            let numbers = not.iter().filter_map(|value| match value {
                Value::Long(number) => Some([number.checked_add(1), number.checked_sub(1)]),
                _ => None,
            });
            let neighbors: Vec<i64> = numbers.flatten().flatten().collect();
            let any = Repair::single(
                RepairLocation::Value(attribute_path.clone()),
                Modification::SetToAnyExcept(not),
            );
            let neighbors = neighbors
                .into_iter()
                .flat_map(|number| self.assign(attribute_path.clone(), Value::Long(number)));
            return neighbors.chain([any]).collect();
        }
        let others = all.into_iter().filter(|value| !not.contains(value));
        others.flat_map(|value| self.assign(attribute_path.clone(), value)).collect()
    }
}

/// All values of a boolean or an enumerated type; empty for types that have more.
fn all_values(ty: &Type, schema: &Schema) -> Vec<Value> {
    match ty {
        Type::Bool => vec![Value::Bool(false), Value::Bool(true)],
        Type::Entity(entity_type) => {
            let ids = schema.entity_type(*entity_type).enum_ids.iter().flatten();
            ids.map(|id| Value::Entity(EntityUid { entity_type: *entity_type, id: id.clone() })).collect()
        }
        Type::Long | Type::String | Type::Set(_) | Type::Record(_) | Type::Extension(_) => Vec::new(),
    }
}

/// The repairs of both; `None` if neither has any.
fn merge_optional(some: Option<Vec<Repair>>, others: Option<Vec<Repair>>) -> Option<Vec<Repair>> {
    match (some, others) {
        (Some(some), Some(others)) => Some([some, others].concat()),
        (some, others) => some.or(others),
    }
}

/// Whether the expression reads only principal, action, resource and literals, which no repair can change.
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

/// The shortest string that matches a pattern.
fn shortest_match(pattern: &Pattern) -> String {
    let literal = |element: &PatternElem| match element {
        PatternElem::Char(char) => Some(*char),
        PatternElem::Wildcard => None,
    };
    pattern.iter().filter_map(literal).collect()
}

fn value_has_type(value: &Value, ty: &Type, schema: &Schema) -> bool {
    match (ty, value) {
        (Type::Bool, value) => matches!(value, Value::Bool(_)),
        (Type::Long, value) => matches!(value, Value::Long(_)),
        (Type::String, value) => matches!(value, Value::String(_)),
        (Type::Entity(entity_type), Value::Entity(entity)) => {
            entity.entity_type == *entity_type
                && (schema.entity_type(*entity_type).enum_ids.is_none()
                    || schema.is_enumerated(entity.as_uid_ref()))
        }
        (Type::Set(element), Value::Set(items)) => {
            items.iter().all(|item| value_has_type(item, element, schema))
        }
        (Type::Record(ty), Value::Record(record)) => {
            let known = |(name, value): (&_, &_)| {
                let name: &smol_str::SmolStr = name;
                ty.get(name).is_some_and(|attribute| value_has_type(value, &attribute.ty, schema))
            };
            ty.iter().all(|(name, attribute)| !attribute.required || record.get(name).is_some())
                && record.iter().all(known)
        }
        (Type::Extension(of), Value::Extension(extension, _)) => extension == of,
        (Type::Entity(_) | Type::Set(_) | Type::Record(_) | Type::Extension(_), _) => false,
    }
}
