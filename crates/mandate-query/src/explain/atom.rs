//! Ways to turn one comparison, membership or test of a condition.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Pattern, PatternElem, ValueKind, Var};

use super::fact::{Change, Facts, Holder, Place, Spot};
use super::hierarchy::{cuts, with_all_above};
use super::ways::Reader;
use mandate_core::cedar;
use mandate_core::schema::{EntityRef, Schema, Type};
use mandate_core::value::Value;

impl Reader<'_> {
    /// The ways to make an expression what is wanted, which it is not. What nothing is known for,
    /// leaves the explanation incomplete.
    pub fn turned(&self, expr: &Expr, wanted: bool) -> Vec<Facts> {
        let ways = match expr.expr_kind() {
            ExprKind::GetAttr { .. } => self.set_to(expr, Value::Bool(wanted)),
            ExprKind::HasAttr { expr, attr } => {
                let spot = self.spot(&Expr::get_attr(Expr::clone(expr), attr.clone()));
                let change = if wanted { Change::NoneOf(BTreeSet::new()) } else { Change::Absent };
                spot.map(|spot| vec![Facts::one(Place::Value(spot), change)])
            }
            ExprKind::Like { expr, pattern } if wanted => {
                self.set_to(expr, Value::String(matched_by(pattern).into()))
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => self.compared(*op, arg1, arg2, wanted),
            _ => None,
        };
        ways.unwrap_or_else(|| {
            if !is_fixed(expr) {
                self.meter.cut_off();
            }
            Vec::new()
        })
    }

    fn compared(&self, op: BinaryOp, left: &Expr, right: &Expr, wanted: bool) -> Option<Vec<Facts>> {
        match op {
            BinaryOp::Eq if wanted => self.sides(left, right, |spot, value| self.is(spot, value)),
            BinaryOp::Eq => self.sides(left, right, |spot, value| self.other_than(&spot, [value].into())),
            BinaryOp::Less | BinaryOp::LessEq => {
                // By how much the left is less than the right at least, or more at least.
                let gap = i64::from((op == BinaryOp::Less) == wanted);
                let gap = if wanted { gap } else { -gap };
                let at = |side: &Expr, other: &Expr, by: i64| {
                    let Value::Long(bound) = self.value(other)? else { return None };
                    self.set_to(side, Value::Long(bound.checked_add(by)?))
                };
                either(at(left, right, -gap), at(right, left, gap))
            }
            BinaryOp::In => self.joined(left, right, wanted),
            BinaryOp::Contains => self.contained(left, right, wanted),
            BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                let (spot, Value::Set(mine), Value::Set(others)) =
                    (self.spot(left)?, self.value(left)?, self.value(right)?)
                else {
                    return None;
                };
                let each = others.iter().filter(|item| mine.contains(item) != wanted);
                let each = each.map(|item| self.element(&spot, item, wanted));
                // All of them have to change, or any one of them does.
                if (op == BinaryOp::ContainsAll) == wanted {
                    let all = each.reduce(|all, one| self.meter.both(&all, &one));
                    Some(all.unwrap_or_default())
                } else {
                    Some(each.flatten().collect())
                }
            }
            _ => None,
        }
    }

    /// For each side that can be changed, the ways to change it by the other's value.
    fn sides(
        &self,
        left: &Expr,
        right: &Expr,
        ways: impl Fn(Spot, Value) -> Vec<Facts>,
    ) -> Option<Vec<Facts>> {
        let side = |side, other| Some(ways(self.spot(side)?, self.value(other)?));
        either(side(left, right), side(right, left))
    }

    /// `left in right`: by a membership, or by another reference on either side.
    fn joined(&self, left: &Expr, right: &Expr, wanted: bool) -> Option<Vec<Facts>> {
        let (entity, of) = (self.entity(left)?, self.entities(right)?);
        let mut ways = self.membership(&entity, &of, wanted);
        if wanted {
            let to_one_of_them = self.spot(left).map(|spot| {
                of.iter().flat_map(|of| self.is(spot.clone(), Value::Entity(of.clone()))).collect::<Vec<_>>()
            });
            ways.extend(to_one_of_them.into_iter().flatten());
            ways.extend(self.spot(right).into_iter().flat_map(|spot| self.naming(&spot, &entity)));
        }
        Some(ways)
    }

    /// The ways in which an entity comes to be in one of these, or in none.
    pub fn membership(&self, entity: &EntityRef, of: &[EntityRef], wanted: bool) -> Vec<Facts> {
        if !wanted {
            return cuts(&self.world.entities, entity.name(), of, self.meter);
        }
        let possible = of.iter().filter(|of| self.world.schema().can_be_in(entity.kind, of.kind));
        let open = self.world.open_to(entity).filter(|open| self.world.is_in(open, of));
        possible
            .chain(open)
            .map(|of| Facts::one(Place::Membership(entity.clone(), of.clone()), Change::Comes))
            .collect()
    }

    /// The ways in which a reference, or a set of them, names an entity or one that it is in.
    fn naming(&self, spot: &Spot, entity: &EntityRef) -> Vec<Facts> {
        let all = with_all_above(&self.world.entities, entity.name());
        if !self.meter.spend(u32::try_from(all.len()).unwrap_or(u32::MAX)) {
            return Vec::new();
        }
        // What does not fit the type of what stands there, gives no way.
        let set = matches!(self.world.attribute(spot).map(|it| &it.ty), Some(Type::Set(_)));
        let named = all.into_iter().map(Value::Entity);
        named
            .flat_map(|it| if set { self.element(spot, &it, true) } else { self.is(spot.clone(), it) })
            .collect()
    }

    /// `set.contains(element)`: by the set, or by what the element is.
    fn contained(&self, set: &Expr, element: &Expr, wanted: bool) -> Option<Vec<Facts>> {
        let by_set = || Some(self.element(&self.spot(set)?, &self.value(element)?, wanted));
        let by_element = || {
            let (spot, Value::Set(items)) = (self.spot(element)?, self.value(set)?) else { return None };
            if !wanted {
                return Some(self.other_than(&spot, items.iter().cloned().collect()));
            }
            Some(items.iter().flat_map(|item| self.is(spot.clone(), item.clone())).collect())
        };
        either(by_set(), by_element())
    }

    fn element(&self, spot: &Spot, element: &Value, comes: bool) -> Vec<Facts> {
        let ty = self.world.attribute(spot).map(|attribute| &attribute.ty);
        let fits = matches!(ty, Some(Type::Set(of)) if fits(element, of, self.world.schema()));
        let change = if comes { Change::Comes } else { Change::Goes };
        let place = Place::Element(spot.clone(), element.clone());
        fits.then(|| Facts::one(place, change)).into_iter().collect()
    }

    fn set_to(&self, expr: &Expr, value: Value) -> Option<Vec<Facts>> {
        Some(self.is(self.spot(expr)?, value))
    }

    fn is(&self, spot: Spot, value: Value) -> Vec<Facts> {
        let attribute = self.world.attribute(&spot);
        let fits = attribute.is_some_and(|attribute| fits(&value, &attribute.ty, self.world.schema()));
        fits.then(|| Facts::one(Place::Value(spot), Change::Is(value))).into_iter().collect()
    }

    /// The ways in which a value is none of these: any other, or each other where there are few.
    fn other_than(&self, spot: &Spot, not: BTreeSet<Value>) -> Vec<Facts> {
        let few: Vec<Value> = match self.world.attribute(spot).map(|attribute| &attribute.ty) {
            Some(Type::Bool) => vec![Value::Bool(false), Value::Bool(true)],
            Some(Type::Entity(kind)) => {
                let ids = self.world.schema().kind(*kind).enumerated.iter().flatten();
                ids.map(|id| Value::Entity(EntityRef { kind: *kind, id: id.clone() })).collect()
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
            let any = Facts::one(Place::Value(spot.clone()), Change::NoneOf(not));
            let next = next.into_iter().flat_map(|number| self.is(spot.clone(), Value::Long(number)));
            return next.chain([any]).collect();
        }
        let others = few.into_iter().filter(|value| !not.contains(value));
        others.flat_map(|value| self.is(spot.clone(), value)).collect()
    }

    /// Where an expression's value stands, if it stands anywhere.
    fn spot(&self, expr: &Expr) -> Option<Spot> {
        match expr.expr_kind() {
            ExprKind::Var(Var::Context) => Some(Spot { holder: Holder::Context, path: Vec::new() }),
            ExprKind::GetAttr { expr, attr } => {
                let mut spot = match self.entity(expr) {
                    Some(entity) => Spot { holder: Holder::Entity(entity), path: Vec::new() },
                    None => self.spot(expr)?,
                };
                spot.path.push(attr.clone());
                Some(spot)
            }
            _ => None,
        }
    }

    fn value(&self, expr: &Expr) -> Option<Value> {
        cedar::read(&(self.value_of)(expr)?, self.world.schema())
    }

    /// The entity, or the set of entities, that an expression comes to.
    pub fn entities(&self, expr: &Expr) -> Option<Vec<EntityRef>> {
        let entity = |value: &Value| match value {
            Value::Entity(entity) => Some(entity.clone()),
            _ => None,
        };
        match self.value(expr)? {
            Value::Set(items) => items.iter().map(entity).collect(),
            value => Some(vec![entity(&value)?]),
        }
    }

    pub fn entity(&self, expr: &Expr) -> Option<EntityRef> {
        match (self.value_of)(expr)?.value {
            ValueKind::Lit(Literal::EntityUID(uid)) => cedar::name(&uid, self.world.schema()),
            _ => None,
        }
    }
}

/// The ways of both, where there are any of one.
fn either(some: Option<Vec<Facts>>, others: Option<Vec<Facts>>) -> Option<Vec<Facts>> {
    match (some, others) {
        (Some(some), Some(others)) => Some([some, others].concat()),
        (some, others) => some.or(others),
    }
}

/// Whether nothing that could change is read: only who asks, for what, and on what.
fn is_fixed(expr: &Expr) -> bool {
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
fn matched_by(pattern: &Pattern) -> String {
    let literal = |element: &PatternElem| match element {
        PatternElem::Char(char) => Some(*char),
        PatternElem::Wildcard => None,
    };
    pattern.iter().filter_map(literal).collect()
}

fn fits(value: &Value, ty: &Type, schema: &Schema) -> bool {
    match (value, ty) {
        (Value::Bool(_), Type::Bool) | (Value::Long(_), Type::Long) | (Value::String(_), Type::String) => {
            true
        }
        (Value::Entity(entity), Type::Entity(kind)) => {
            entity.kind == *kind
                && (schema.kind(*kind).enumerated.is_none() || schema.enumerates(entity.name()))
        }
        (Value::Set(items), Type::Set(element)) => items.iter().all(|item| fits(item, element, schema)),
        (Value::Record(record), Type::Record(ty)) => {
            let known = |(name, value): (&_, &_)| {
                let name: &smol_str::SmolStr = name;
                ty.get(name).is_some_and(|attribute| fits(value, &attribute.ty, schema))
            };
            ty.iter().all(|(name, attribute)| !attribute.required || record.get(name).is_some())
                && record.iter().all(known)
        }
        (Value::Extension(extension, _), Type::Extension(of)) => extension == of,
        _ => false,
    }
}
