//! Guardrails: claims about policies, written as policies. A claim says what no edit may break, and why; it
//! is never evaluated for a request. Here claims are read and checked against the schema; `claim_kind` has
//! the table of their kinds, and `prove` proves them.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId};
use smol_str::SmolStr;

pub use crate::claim_kind::{ClaimKind, NEVER_ERRORS, WrittenKind};
use crate::guardrail_suite::is_suite;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::policies::{EnvironmentKey, Policies, PolicyInfo, unknown_annotations};
use mandate_core::schema::{Schema, Type};

/// A promise about all requests and all entities.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: SmolStr,
    pub kind: ClaimKind,
    /// Why the claim has to hold, in a sentence for people.
    pub because: SmolStr,
    pub span: Option<SourceSpan>,
}

/// A set of claims that fit the schema.
#[derive(Debug)]
pub struct Guardrails {
    claims: Vec<Arc<Claim>>,
    policies: Option<Policies>,
    warnings: Diagnostics,
}

/// The annotations of a claim.
const CLAIM_ANNOTATIONS: &[&str] = &["attribute", "because", "claim", "id"];

/// What is wrong with a claim, other than that it does not parse as a policy.
#[derive(Debug, thiserror::Error)]
enum ClaimError<'a> {
    #[error("a claim has no `@id`")]
    MissingId,
    #[error("`{NEVER_ERRORS}` is the id of a claim that holds without being written")]
    ReservedId,
    #[error("the claim `{0}` has no `@because`")]
    MissingBecause(&'a str),
    #[error("`{0}` has no `@claim`")]
    MissingKind(&'a str),
    #[error("`{kind}` is not a valid `@claim` for `{id}`")]
    UnknownKind { id: &'a str, kind: &'a str },
    #[error("the claim `{id}` is `{}`, so it has to be a `{}`", .kind.name(), .kind.effect())]
    Effect { id: &'a str, kind: WrittenKind },
    #[error("the claim `{0}` has no `@attribute`")]
    MissingAttribute(&'a str),
    #[error("the claim `{id}` is about `{attribute}`, which is also a field of a record")]
    NestedAttribute { id: &'a str, attribute: &'a str },
    #[error("the claim `{id}` is about `{attribute}`, which is no attribute in the schema")]
    UnknownAttribute { id: &'a str, attribute: &'a str },
    #[error("the claim `{id}` is about `{attribute}`, which is not a required `Bool` everywhere")]
    AttributeType { id: &'a str, attribute: &'a str },
}

impl ClaimError<'_> {
    fn help(&self) -> String {
        let fixed = match self {
            Self::MissingId => "add an `@id`: messages name the claim by it",
            Self::ReservedId => "give this claim another `@id`",
            Self::MissingBecause(_) => {
                "write in one sentence why the claim has to hold: people read it when they break the claim"
            }
            Self::MissingKind(_) | Self::UnknownKind { .. } => {
                let names: Vec<String> =
                    WrittenKind::ALL.iter().map(|kind| format!("`{}`", kind.name())).collect();
                return format!("expected one of {}", names.join(", "));
            }
            Self::Effect { kind, .. } => {
                return format!("a `{}` claim promises that {}", kind.name(), kind.promise());
            }
            Self::MissingAttribute(_) => "name the attribute that decisions must not depend on",
            Self::NestedAttribute { .. } => {
                "policies can read a record as a whole, so `independent` takes only attributes of entities and of the context"
            }
            Self::UnknownAttribute { .. } => "correct `@attribute`",
            Self::AttributeType { .. } => "`independent` takes only required attributes of type `Bool`",
        };
        fixed.to_owned()
    }
}

impl Guardrails {
    /// Reads the files of a guardrail folder. Without files, there is still the claim that no policy errors.
    ///
    /// # Errors
    /// Everything that is wrong with the files as policies and as claims.
    pub fn parse(files: &[Arc<SourceText>], schema: &Arc<Schema>) -> Result<Self, Diagnostics> {
        let never_errors = Claim {
            id: NEVER_ERRORS.into(),
            kind: ClaimKind::NeverErrors,
            because: "A permit that errors is skipped, and a forbid that errors denies, whatever they say."
                .into(),
            span: None,
        };
        let claims = vec![Arc::new(never_errors)];
        let mut guardrails = Self { claims, policies: None, warnings: Diagnostics::default() };
        let files: Vec<_> = files.iter().filter(|file| !is_suite(file)).cloned().collect();
        if files.is_empty() {
            return Ok(guardrails);
        }
        let (policies, _) = Policies::parse(&files, Arc::clone(schema))?;
        let mut diagnostics = Diagnostics::default();
        for info in policies.infos() {
            let Some(policy) = policies.cedar_policies().policy(&PolicyId::new(&info.id)) else { continue };
            match claim(info, policy, schema) {
                Ok(claim) => guardrails.claims.push(Arc::new(claim)),
                Err(found) => diagnostics.extend(found),
            }
        }
        if policies.is_empty() {
            let help = "nothing is promised but that no policy errors";
            guardrails.warnings.push(Diagnostic::warning("the guardrail files hold no claims").help(help));
        }
        guardrails.warnings.extend(unknown_annotations(&policies, CLAIM_ANNOTATIONS));
        guardrails.policies = Some(policies);
        diagnostics.into_result().map(|_| guardrails)
    }

    /// All claims: first `never-errors`, then the written ones by id.
    pub fn claims(&self) -> &[Arc<Claim>] {
        &self.claims
    }

    /// The ids among `expected` that no claim has.
    pub fn missing(&self, expected: &BTreeSet<String>) -> Vec<String> {
        let has = |id: &str| self.claims.iter().any(|claim| claim.id == id);
        expected.iter().filter(|id| !has(id)).cloned().collect()
    }

    /// What is odd about the claims, and does not keep them from being proven.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The claims as policies.
    pub fn policies(&self) -> Option<&Policies> {
        self.policies.as_ref()
    }

    /// The claim as the policy that it is written as, if its scope matches requests of this environment.
    pub fn policy(&self, claim: &Claim, environment: EnvironmentKey) -> Option<&Policy> {
        let policies = self.policies.as_ref()?;
        let mut fitting = policies.candidates(environment)?.all();
        fitting.find(|candidate| candidate.info.id == claim.id)?;
        policies.cedar_policies().policy(&PolicyId::new(&claim.id))
    }
}

fn claim(info: &PolicyInfo, policy: &Policy, schema: &Schema) -> Result<Claim, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut report = |error: ClaimError<'_>| {
        let diagnostic = Diagnostic::error(error.to_string()).help(error.help());
        diagnostics.push(diagnostic.at(info.span.clone()));
    };
    let annotation = |name| policy.annotation(name).filter(|text| !text.trim().is_empty());
    if annotation("id").is_none() {
        report(ClaimError::MissingId);
    }
    if info.id == NEVER_ERRORS {
        report(ClaimError::ReservedId);
    }
    let because = annotation("because");
    if because.is_none() {
        report(ClaimError::MissingBecause(&info.id));
    }
    let kind = kind(info, policy, schema).map_err(report).ok();
    match (kind, because) {
        (Some(kind), Some(because)) if !diagnostics.has_errors() => {
            Ok(Claim { id: info.id.clone(), kind, because: because.into(), span: info.span.clone() })
        }
        _ => Err(diagnostics),
    }
}

fn kind<'a>(info: &'a PolicyInfo, policy: &'a Policy, schema: &Schema) -> Result<ClaimKind, ClaimError<'a>> {
    let id = info.id.as_str();
    let name = policy.annotation("claim").ok_or(ClaimError::MissingKind(id))?;
    let written = WrittenKind::ALL.into_iter().find(|kind| kind.name() == name);
    let written = written.ok_or(ClaimError::UnknownKind { id, kind: name })?;
    let kind = match written {
        WrittenKind::Never => ClaimKind::Never,
        WrittenKind::Ceiling => ClaimKind::Ceiling,
        WrittenKind::Floor => ClaimKind::Floor,
        WrittenKind::Independent => ClaimKind::Independent { attribute: attribute(id, policy, schema)? },
    };
    if policy.effect() == written.effect() { Ok(kind) } else { Err(ClaimError::Effect { id, kind: written }) }
}

/// The attribute that decisions must not depend on. Wherever it is declared it is a required `Bool`:
/// otherwise `true` and `false` would not be all the values to try.
fn attribute<'a>(id: &'a str, policy: &'a Policy, schema: &Schema) -> Result<SmolStr, ClaimError<'a>> {
    let attribute = policy.annotation("attribute").unwrap_or_default();
    if attribute.is_empty() {
        return Err(ClaimError::MissingAttribute(id));
    }
    let records = schema.entity_types().map(|(_, entity_type)| &entity_type.attributes);
    let records: Vec<_> = records.chain(schema.actions().map(|(_, action)| &action.context_type)).collect();
    let tags = schema.entity_types().filter_map(|(_, entity_type)| entity_type.tag_type.as_ref());
    let values = records.iter().flat_map(|record| record.iter().map(|(_, attribute)| &attribute.ty));
    if values.chain(tags).any(|ty| has_nested_attribute(ty, attribute)) {
        return Err(ClaimError::NestedAttribute { id, attribute });
    }
    let found: Vec<_> = records.iter().filter_map(|record| record.get(attribute)).collect();
    if found.is_empty() {
        return Err(ClaimError::UnknownAttribute { id, attribute });
    }
    if found.iter().any(|declared| declared.ty != Type::Bool || !declared.required) {
        return Err(ClaimError::AttributeType { id, attribute });
    }
    Ok(attribute.into())
}

/// Whether a record in a value of this type has an attribute of this name.
fn has_nested_attribute(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Record(record) => {
            record.get(name).is_some()
                || record.iter().any(|(_, attribute)| has_nested_attribute(&attribute.ty, name))
        }
        Type::Set(element) => has_nested_attribute(element, name),
        Type::Bool | Type::Long | Type::String | Type::Entity(_) | Type::Extension(_) => false,
    }
}
