//! Guardrails: claims about policies, written as policies. Each says what no edit may break, and why;
//! none is ever evaluated for a request.

use std::sync::Arc;

use cedar_policy::{Effect, Policy, PolicyId};
use smol_str::SmolStr;

use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};
use mandate_core::policies::{EnvironmentKey, Policies, PolicyInfo};
use mandate_core::schema::{Schema, Type};

/// The id of the claim that holds for all policies without being written.
pub const NEVER_ERRORS: &str = "never-errors";

/// A promise about all requests and all entities.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: SmolStr,
    pub kind: ClaimKind,
    /// Why it has to hold, in a sentence for people.
    pub because: SmolStr,
    pub span: Option<SourceSpan>,
}

/// What a claim says about the requests that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimKind {
    /// None is ever permitted.
    Never,
    /// Of those in its scope, none beyond its conditions is permitted.
    Ceiling,
    /// All are always permitted.
    Floor,
    /// Decisions on them do not depend on this attribute.
    Independent { attribute: SmolStr },
    /// No policy, and no guardrail, ever fails.
    NeverErrors,
}

impl ClaimKind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Ceiling => "ceiling",
            Self::Floor => "floor",
            Self::Independent { .. } => "independent",
            Self::NeverErrors => "never-errors",
        }
    }
}

/// A set of claims, validated against the schema.
#[derive(Debug)]
pub struct Guardrails {
    claims: Vec<Arc<Claim>>,
    policies: Option<Policies>,
}

impl Guardrails {
    /// Reads the files of a guardrail folder; without any, policies still must not fail.
    ///
    /// # Errors
    /// Everything that is wrong with the files as policies, and with the claims that they make.
    pub fn parse(files: &[Arc<SourceText>], schema: &Arc<Schema>) -> Result<Self, Diagnostics> {
        let never_errors = Claim {
            id: NEVER_ERRORS.into(),
            kind: ClaimKind::NeverErrors,
            because: "A policy that fails is skipped or denies, whatever it was to say.".into(),
            span: None,
        };
        let mut guardrails = Self { claims: vec![Arc::new(never_errors)], policies: None };
        if files.is_empty() {
            return Ok(guardrails);
        }
        let (policies, _) = Policies::parse(files, Arc::clone(schema))?;
        let mut diagnostics = Diagnostics::default();
        for info in policies.infos() {
            let Some(policy) = policies.cedar_policies().policy(&PolicyId::new(&info.id)) else { continue };
            match claim(info, policy, schema) {
                Ok(claim) => guardrails.claims.push(Arc::new(claim)),
                Err(found) => diagnostics.extend(found),
            }
        }
        guardrails.policies = Some(policies);
        diagnostics.into_result().map(|_| guardrails)
    }

    /// All claims, by id, after the one that holds without being written.
    pub fn claims(&self) -> &[Arc<Claim>] {
        &self.claims
    }

    /// The claims as policies.
    pub fn policies(&self) -> Option<&Policies> {
        self.policies.as_ref()
    }

    /// A claim as the policy that it is written as, if its scope takes requests of this environment.
    pub fn policy(&self, claim: &Claim, environment: EnvironmentKey) -> Option<&Policy> {
        let policies = self.policies.as_ref()?;
        let mut fitting = policies.candidates(environment)?.all();
        fitting.find(|candidate| candidate.info.id == claim.id)?;
        policies.cedar_policies().policy(&PolicyId::new(&claim.id))
    }
}

fn claim(info: &PolicyInfo, policy: &Policy, schema: &Schema) -> Result<Claim, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut diagnostic = |message: String, help: &str| {
        diagnostics.push(Diagnostic::error(message).help(help).at(info.span.clone()));
    };
    let annotation = |name| policy.annotation(name).filter(|text| !text.trim().is_empty());
    if annotation("id").is_none() {
        diagnostic("a claim has no `@id`".to_owned(), "give it one: people know a claim by it");
    }
    if info.id == NEVER_ERRORS {
        diagnostic(format!("`{NEVER_ERRORS}` holds without being written"), "give this claim another `@id`");
    }
    let because = annotation("because");
    if because.is_none() {
        let help = "say in a sentence why it has to hold: whoever breaks it reads that";
        diagnostic(format!("the claim `{}` has no `@because`", info.id), help);
    }
    let kind = kind(info, policy, schema).map_err(|(message, help)| diagnostic(message, &help)).ok();
    match (kind, because) {
        (Some(kind), Some(because)) if !diagnostics.has_errors() => {
            Ok(Claim { id: info.id.clone(), kind, because: because.into(), span: info.span.clone() })
        }
        _ => Err(diagnostics),
    }
}

fn kind(info: &PolicyInfo, policy: &Policy, schema: &Schema) -> Result<ClaimKind, (String, String)> {
    let forms = "one of `never`, `ceiling`, `floor`, `independent`";
    let kind = match policy.annotation("claim") {
        Some("never") => ClaimKind::Never,
        Some("ceiling") => ClaimKind::Ceiling,
        Some("floor") => ClaimKind::Floor,
        Some("independent") => ClaimKind::Independent { attribute: attribute(info, policy, schema)? },
        Some(other) => {
            return Err((format!("`{}` claims `{other}`", info.id), format!("`@claim` is {forms}")));
        }
        None => return Err((format!("`{}` has no `@claim`", info.id), format!("add it: it is {forms}"))),
    };
    let wanted = if kind == ClaimKind::Never { Effect::Forbid } else { Effect::Permit };
    if policy.effect() != wanted {
        let message =
            format!("the claim `{}` is `{}`, so it is written as a `{wanted}`", info.id, kind.name());
        return Err((message, "a claim reads as what it promises".to_owned()));
    }
    Ok(kind)
}

/// The attribute that decisions must not depend on: of whatever has it, it is a boolean that is always
/// there, or else putting `true` and `false` in its place would not be all there is to try.
fn attribute(info: &PolicyInfo, policy: &Policy, schema: &Schema) -> Result<SmolStr, (String, String)> {
    let name = policy.annotation("attribute").unwrap_or_default();
    if name.is_empty() {
        let help = "name the attribute that decisions must not depend on".to_owned();
        return Err((format!("the claim `{}` has no `@attribute`", info.id), help));
    }
    let records = schema.entity_types().map(|(_, kind)| &kind.attributes);
    let records: Vec<_> = records.chain(schema.actions().map(|(_, action)| &action.context_type)).collect();
    let found: Vec<_> = records.iter().filter_map(|record| record.get(name)).collect();
    let tags = schema.entity_types().filter_map(|(_, kind)| kind.tag_type.as_ref());
    let values = records.iter().flat_map(|record| record.iter().map(|(_, attribute)| &attribute.ty));
    if values.chain(tags).any(|ty| has_nested_attribute(ty, name)) {
        let message = format!("the claim `{}` is about `{name}`, which stands in a record", info.id);
        let help =
            "records are read as a whole as well; `independent` is for attributes of entities and contexts";
        return Err((message, help.to_owned()));
    }
    if found.is_empty() {
        let message = format!("the claim `{}` is about `{name}`, which nothing in the schema has", info.id);
        return Err((message, "correct `@attribute`".to_owned()));
    }
    if found.iter().any(|attribute| attribute.ty != Type::Bool || !attribute.required) {
        let message = format!("the claim `{}` is about `{name}`, which is not always a boolean", info.id);
        return Err((message, "`independent` is for attributes of type `Bool` that are required".to_owned()));
    }
    Ok(name.into())
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
