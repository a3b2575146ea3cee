//! One edit of a rule, as data. `working_entities` makes it.

use smol_str::SmolStr;

use crate::expression::Expression;
use crate::value_source::ValueSource;
use mandate_core::diagnostics::SourceSpan;
use mandate_core::schema::EntityTypeId;

/// One edit of an entity, and where it stands.
#[derive(Debug)]
pub(crate) struct Edit {
    pub kind: EditKind,
    pub span: SourceSpan,
}

#[derive(Debug)]
pub(crate) enum EditKind {
    Create {
        entity_type: EntityTypeId,
        id: NewId,
        attributes: Vec<AttributeSource>,
        parents: Vec<ValueSource>,
    },
    Set {
        entity: Expression,
        attributes: Vec<AttributeSource>,
    },
    Remove {
        entity: Expression,
        attributes: Vec<(SmolStr, SourceSpan)>,
    },
    Join {
        entity: Expression,
        parents: Vec<ValueSource>,
    },
    Leave {
        entity: Expression,
        parents: Vec<ValueSource>,
    },
    Delete {
        entity: Expression,
    },
}

/// The name of an attribute, where it stands, and where its value comes from.
pub(crate) type AttributeSource = (SmolStr, SourceSpan, ValueSource);

/// Where the id of a created entity comes from.
#[derive(Debug)]
pub(crate) enum NewId {
    /// The caller of `Change::edits` makes it.
    Made,
    /// A value; a made id if the value is optional and not there.
    Value(ValueSource),
}
