//! Clock attributes: attributes of a context with `@clock`, which callers never send. This finds and checks them in
//! a schema that is read otherwise; what they are at a moment is in `clock.rs`.

use std::sync::Arc;

use smol_str::SmolStr;

use super::annotation_places::{AnnotationPlaces, Owner};
use super::tables::{ActionDef, EntityTypeDef};
use super::types::{Attribute, ClockAttribute, Extension, Granularity, Type};
use crate::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};

const SECONDS_OF_DAY: i64 = 24 * 60 * 60;

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Finds the clock attributes of the contexts, and reports each `@clock` that does not fit.
pub struct ClockReader<'a> {
    entity_types: &'a [EntityTypeDef],
    places: AnnotationPlaces,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> ClockReader<'a> {
    pub fn new(
        source: &Arc<SourceText>,
        entity_types: &'a [EntityTypeDef],
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Self { entity_types, places: AnnotationPlaces::of(source, "clock"), diagnostics }
    }

    /// Reports `@clock` where it cannot be, outside of contexts.
    pub fn check_other_places(&mut self) {
        for (name, span) in std::mem::take(&mut self.places.declarations) {
            self.misplaced(&name, Some(span));
        }
        for entity_type in self.entity_types {
            let owner = Owner::EntityType(entity_type.name.clone());
            entity_type
                .attributes
                .each_attribute(&mut |name, attribute| self.elsewhere(name, attribute, &owner));
            if let Some(ty) = &entity_type.tag_type {
                ty.each_attribute(&mut |name, attribute| self.elsewhere(name, attribute, &owner));
            }
        }
    }

    /// The clock attributes of an action's context.
    pub fn clocks(&mut self, action: &ActionDef) -> Vec<ClockAttribute> {
        let (owner, context) = (Owner::of_action(action), &action.context_type);
        for (_, attribute) in context.iter() {
            attribute.ty.each_attribute(&mut |name, attribute| self.elsewhere(name, attribute, &owner));
        }
        let clocks = context.iter().filter_map(|(name, attribute)| {
            let text = attribute.clock.as_ref()?;
            match self.granularity(text, attribute) {
                Ok(granularity) => Some(ClockAttribute { name: name.clone(), granularity }),
                Err(why) => {
                    let span = self.places.of_attribute(&owner, name);
                    let error = why.after(&format!("`@clock(\"{text}\")` on `{name}`"));
                    // Several actions may share a context, whose mistakes are reported once.
                    self.diagnostics.push_once(error.at(span));
                    None
                }
            }
        });
        clocks.collect()
    }

    /// An attribute that is not directly in a context.
    fn elsewhere(&mut self, name: &str, attribute: &Attribute, owner: &Owner) {
        if attribute.clock.is_some() {
            let span = self.places.of_attribute(owner, name);
            self.misplaced(name, span);
        }
    }

    fn granularity(&self, text: &str, attribute: &Attribute) -> Result<Granularity, Wrong> {
        if text == "weekday" {
            return self.weekday(attribute);
        }
        let seconds = seconds(text).ok_or(Wrong::Granularity)?;
        let is_datetime = attribute.ty == Type::Extension(Extension::DateTime);
        if is_datetime { Ok(Granularity::Seconds(seconds)) } else { Err(Wrong::NotDateTime) }
    }

    fn weekday(&self, attribute: &Attribute) -> Result<Granularity, Wrong> {
        let Type::Entity(id) = attribute.ty else { return Err(Wrong::NotEnumerated) };
        let entity_type = self.entity_types.get(usize::from(id.0)).ok_or(Wrong::NotEnumerated)?;
        let ids = entity_type.enum_ids.as_ref().ok_or(Wrong::NotEnumerated)?;
        let lacks = DAYS.into_iter().filter(|day| !ids.iter().any(|id| id == day));
        let other = ids.iter().filter(|id| !DAYS.contains(&id.as_str()));
        let quoted = |names: &mut dyn Iterator<Item = &str>| {
            names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let (lacks, other) = (quoted(&mut lacks.into_iter()), quoted(&mut other.map(SmolStr::as_str)));
        if lacks.is_empty() && other.is_empty() {
            return Ok(Granularity::Weekday(id));
        }
        Err(Wrong::Days { entity_type: entity_type.name.clone(), lacks, other })
    }

    fn misplaced(&mut self, name: &str, span: Option<SourceSpan>) {
        let message =
            format!("`@clock` on `{name}`: only an attribute of an action's context tells the time");
        let help =
            "declare an attribute with `@clock` directly in the `context` of each action that needs it";
        self.diagnostics.push_once(Diagnostic::error(message).help(help).at(span));
    }
}

/// What is wrong with a `@clock`.
enum Wrong {
    Granularity,
    NotDateTime,
    NotEnumerated,
    Days { entity_type: SmolStr, lacks: String, other: String },
}

impl Wrong {
    fn after(self, subject: &str) -> Diagnostic {
        let enumerated = "declare `entity Weekday enum [\"monday\", …, \"sunday\"];` with all seven days, in English and in lower case";
        match self {
            Self::Granularity => Diagnostic::error(format!("{subject} is not a granularity")).help(
                "write a time that divides a day, such as `1s`, `1m`, `15m`, `1h` or `1d`; or `weekday`",
            ),
            Self::NotDateTime => Diagnostic::error(format!(
                "{subject} needs an attribute of type `datetime`"
            ))
            .help("make it a `datetime`; the type of `@clock(\"weekday\")` is an enumerated entity type"),
            Self::NotEnumerated => {
                Diagnostic::error(format!("{subject} needs an attribute of an enumerated entity type"))
                    .help(enumerated)
            }
            Self::Days { entity_type, lacks, other } => {
                let lacks = if lacks.is_empty() { lacks } else { format!("; it lacks {lacks}") };
                let other = if other.is_empty() { other } else { format!("; it also has {other}") };
                let message = format!(
                    "{subject} needs a type of exactly the seven days, not `{entity_type}`{lacks}{other}"
                );
                Diagnostic::error(message).help(enumerated)
            }
        }
    }
}

/// The seconds of a granularity such as `15m`; `None` if it does not divide a day.
fn seconds(text: &str) -> Option<i64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => SECONDS_OF_DAY,
        _ => return None,
    };
    let digits =
        text.get(..text.len() - 1).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let seconds = digits.parse::<i64>().ok()?.checked_mul(unit)?;
    (seconds > 0 && SECONDS_OF_DAY % seconds == 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    const DAYS: &str = "entity Weekday enum [\"monday\", \"tuesday\", \"wednesday\", \"thursday\", \"friday\", \"saturday\", \"sunday\"];
entity Season enum [\"monday\", \"sunday\", \"summer\"];
entity User;
";

    /// The errors of a schema of [`DAYS`] and this text, from line 4.
    fn errors(text: &str) -> Vec<String> {
        let source = SourceText::new("s.cedarschema", format!("{DAYS}{text}"));
        let Err(diagnostics) = Schema::parse(&source) else { return Vec::new() };
        let line = |diagnostic: &Diagnostic| {
            let (line, column) =
                diagnostic.span.as_ref().unwrap_or_else(|| panic!("{diagnostic:?}")).line_column();
            format!("{line}:{column}: {}", diagnostic.message)
        };
        diagnostics.iter().map(line).collect()
    }

    fn context_errors(context: &str) -> Vec<String> {
        errors(&format!(
            "action view appliesTo {{ principal: User, resource: User, context: {{\n{context} }} }};"
        ))
    }

    #[test]
    fn contexts_may_have_the_time_and_the_day() {
        let none: [&str; 0] = [];
        assert_eq!(
            context_errors(
                "@clock(\"1m\") now: datetime, @clock(\"1d\") day?: datetime, @clock(\"weekday\") weekday: Weekday"
            ),
            none
        );
        let shared = "type Time = { @clock(\"15m\") now: Now };\ntype Now = datetime;
action a, b appliesTo { principal: User, resource: User, context: Time };";
        assert_eq!(errors(shared), none);
    }

    #[test]
    fn granularities_divide_a_day_and_days_are_complete() {
        for text in ["", "m", "0m", "7m", "2d", "1w", "-1m", "1 m", "1µ", "9223372036854775807d", "Weekday"]
        {
            let message = format!("5:11: `@clock(\"{text}\")` on `now` is not a granularity");
            assert_eq!(context_errors(&format!("   @clock(\"{text}\") now: datetime")), [message]);
        }
        assert_eq!(
            context_errors("@clock now: datetime"),
            ["5:1: `@clock(\"\")` on `now` is not a granularity"]
        );
        assert_eq!(
            context_errors("a: Long, @clock(\"1m\") now: Long"),
            ["5:17: `@clock(\"1m\")` on `now` needs an attribute of type `datetime`"]
        );
        let enumerated = "needs an attribute of an enumerated entity type";
        for ty in ["datetime", "String", "User"] {
            let message = format!("5:8: `@clock(\"weekday\")` on `day` {enumerated}");
            assert_eq!(context_errors(&format!("@clock(\"weekday\") day: {ty}")), [message]);
        }
        assert_eq!(
            context_errors("@clock(\"weekday\") day: Season"),
            [
                "5:8: `@clock(\"weekday\")` on `day` needs a type of exactly the seven days, not `Season`; it lacks `tuesday`, `wednesday`, `thursday`, `friday`, `saturday`; it also has `summer`"
            ]
        );
    }

    #[test]
    fn elsewhere_the_annotation_is_an_error_where_it_stands() {
        let elsewhere = |place: &str, name: &str| {
            format!("{place}: `@clock` on `{name}`: only an attribute of an action's context tells the time")
        };
        let right = "action view appliesTo { principal: User, resource: User, context: { @clock(\"1m\") now: datetime } };\n";
        for (text, expected) in [
            ("entity Team = { name: String, @clock(\"1m\") now: datetime };", elsewhere("5:38", "now")),
            ("entity Team = { home: { @clock(\"1m\") now: datetime } };", elsewhere("5:32", "now")),
            ("entity Team tags { @clock(\"1m\") now: datetime };", elsewhere("5:27", "now")),
            (
                "type Home = { @clock(\"1m\") now: datetime };\nentity Team = { home: Home };",
                elsewhere("5:22", "now"),
            ),
            ("@clock(\"1m\") entity Team;", elsewhere("5:8", "Team")),
            ("@doc(\"x\") @clock(\"1m\") type Home = Long;", elsewhere("5:18", "Home")),
            ("@clock(\"1m\") action edit;", elsewhere("5:8", "edit")),
            ("@clock(\"1m\") namespace Other { entity Team; }", elsewhere("5:8", "Other")),
            (
                "action edit appliesTo { principal: User, resource: User, context: { a: { @clock(\"1m\") now: datetime } } };",
                elsewhere("5:81", "now"),
            ),
        ] {
            assert_eq!(errors(&format!("{right}{text}")), [expected], "{text}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_each_at_its_own_place() {
        let action = |name: &str, attribute: &str| {
            format!(
                "action {name} appliesTo {{ principal: User, resource: User, context: {{ {attribute} }} }};\n"
            )
        };
        let text = [
            action("right", "@clock(\"1m\") now: datetime"),
            action("wrong", "@clock(\"1m\") now: Long"),
            format!(
                "namespace Other {{ {} }}",
                action("worse", "@clock(\"7m\") now: __cedar::datetime").trim_end().replace("User", "X")
                    + " entity X;"
            ),
        ];
        assert_eq!(
            errors(&text.concat()),
            [
                "5:77: `@clock(\"1m\")` on `now` needs an attribute of type `datetime`",
                "6:89: `@clock(\"7m\")` on `now` is not a granularity",
            ]
        );
    }
}
