//! The policy folder: one schema (`*.cedarschema`), any number of policy files (`*.cedar`), routes
//! (`routes.toml`, `*.routes.toml`), and changes (`changes.toml`, `*.changes.toml`). Files in `guardrails/` hold claims about the policies and suites (`*.yaml`),
//! and are never loaded as policies. Files in `tests/` are not read here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy::PolicyId;

use super::folder::{
    CHANGES_FILE_NAME, Folder, POLICY_EXTENSIONS, ROUTES_FILE_NAME, SUITE_EXTENSIONS, has_extension,
    is_hidden, reject_emptied,
};
use super::policy_limits::PolicyLimits;
use super::saved_copy::SavedCopy;
use mandate_changes::Changes;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceText};
use mandate_core::digest::Digest;
use mandate_core::policies::{POLICY_ANNOTATIONS, Policies, unknown_annotations};
use mandate_core::schema::Schema;
use mandate_routes::{IdentitySources, Routes};

/// The subfolder of the guardrails.
const GUARDRAILS: &str = "guardrails";

/// The subfolder of the test suites.
const TESTS: &str = "tests";

/// How a policy folder is read.
#[derive(Default, Clone)]
pub struct PolicyFilesConfig {
    /// Where routes may take principals from; `None`: from anywhere.
    pub identity_sources: Option<Arc<IdentitySources>>,
    pub limits: PolicyLimits,
    /// The copy on disk of what is in use, if one is kept.
    pub copy: Option<SavedCopy>,
}

/// The policy folder, and which of its content is in use.
pub(super) struct PolicyFiles {
    folder: Folder,
    config: PolicyFilesConfig,
    /// The digest of the content in use, and the files beside it that look like content.
    applied: Option<(Digest, Vec<PathBuf>)>,
    /// The files that are not empty.
    nonempty_files: BTreeSet<String>,
}

/// The folder's content at one moment.
#[derive(Debug)]
pub(super) struct PolicyFolderContent {
    pub by_kind: TextsByKind,
    /// The digest of all names and texts.
    pub digest: Digest,
    /// When it was found in the folder; `None` if it is from the copy.
    found: Option<SystemTime>,
}

/// The texts of a policy folder by their kind.
#[derive(Debug)]
pub(super) struct TextsByKind {
    pub schema: Result<Arc<SourceText>, Diagnostics>,
    pub policies: Vec<Arc<SourceText>>,
    pub guardrails: Vec<Arc<SourceText>>,
    pub routes: Vec<Arc<SourceText>>,
    pub changes: Vec<Arc<SourceText>>,
    /// Files that look like content of the folder and are not.
    pub lookalikes: Vec<PathBuf>,
    /// Where routes may take principals from; `None`: from anywhere.
    pub identity_sources: Option<Arc<IdentitySources>>,
}

/// The texts of a policy folder, parsed by its schema.
pub(super) struct ParsedPolicies {
    pub policies: Arc<Policies>,
    pub routes: Arc<Routes>,
    pub changes: Arc<Changes>,
    pub warnings: Diagnostics,
}

impl PolicyFiles {
    pub fn new(root: &Path, config: PolicyFilesConfig) -> Self {
        Self {
            folder: Folder::new(root, POLICY_EXTENSIONS, &[TESTS]),
            applied: None,
            // What was in use before this start must not be found empty, either.
            nonempty_files: config.copy.as_ref().map(SavedCopy::nonempty_files).unwrap_or_default(),
            config,
        }
    }

    /// Reads the whole folder, whatever metadata say.
    ///
    /// # Errors
    /// The folder cannot be read, or is beyond a limit.
    pub fn read(&self) -> Result<PolicyFolderContent, Diagnostics> {
        let now = SystemTime::now();
        Ok(PolicyFolderContent { found: Some(now), ..self.read_from(&self.folder)? })
    }

    /// Reads the copy; `None` if there is none.
    ///
    /// # Errors
    /// The copy cannot be read, or is beyond a limit.
    pub fn read_copy(&self) -> Result<Option<PolicyFolderContent>, Diagnostics> {
        let copy = self.config.copy.as_ref();
        let copy = copy.map(|copy| Folder::new(&copy.folder(), POLICY_EXTENSIONS, &[TESTS]));
        copy.map(|copy| self.read_from(&copy)).transpose()
    }

    fn read_from(&self, folder: &Folder) -> Result<PolicyFolderContent, Diagnostics> {
        let (root, limits) = (folder.root(), &self.config.limits);
        let (listing, texts) = folder.read_all(|listing| limits.check_files(root, listing))?;
        for text in texts.iter().filter(|text| self.nonempty_files.contains(&text.name)) {
            reject_emptied(text)?;
        }
        let digest = Digest::of(texts.iter().flat_map(|text| [text.name.as_bytes(), text.text.as_bytes()]));
        let mut by_kind = TextsByKind::of(texts, &root.display().to_string());
        limits.check_policies(root, &by_kind.policies)?;
        by_kind.lookalikes = listing.lookalikes.iter().map(|path| root.join(path)).collect();
        by_kind.identity_sources.clone_from(&self.config.identity_sources);
        Ok(PolicyFolderContent { by_kind, digest, found: None })
    }

    /// Whether this content is in use, with the same warnings.
    pub fn is_applied(&self, texts: &PolicyFolderContent) -> bool {
        self.applied.as_ref().is_some_and(|(digest, lookalikes)| {
            *digest == texts.digest && *lookalikes == texts.by_kind.lookalikes
        })
    }

    /// Records that this content is in use.
    pub fn mark_applied(&mut self, texts: PolicyFolderContent) {
        let TextsByKind { schema, policies, guardrails, routes, changes, lookalikes, identity_sources: _ } =
            texts.by_kind;
        let all = schema.iter().chain(&policies).chain(&guardrails).chain(&routes).chain(&changes);
        if let Some((copy, found)) = self.config.copy.as_ref().zip(texts.found) {
            copy.save(
                all.clone().map(|text| text.name.clone()).collect(),
                all.clone().cloned().collect(),
                found,
            );
        }
        let holds = all.filter(|text| !text.text.trim().is_empty());
        self.nonempty_files = holds.map(|text| text.name.clone()).collect();
        self.applied = Some((texts.digest, lookalikes));
    }

    /// The folder holds what is in use.
    pub fn confirm_copy(&self, texts: &PolicyFolderContent) {
        if let Some((copy, found)) = self.config.copy.as_ref().zip(texts.found) {
            copy.confirm(found);
        }
    }
}

impl TextsByKind {
    /// Sorts texts by their names.
    pub fn of(texts: Vec<Arc<SourceText>>, folder: &str) -> Self {
        let (routes, texts): (Vec<_>, Vec<_>) =
            texts.into_iter().partition(|text| has_extension(Path::new(&text.name), &[ROUTES_FILE_NAME]));
        let (changes, texts): (Vec<_>, Vec<_>) =
            texts.into_iter().partition(|text| has_extension(Path::new(&text.name), &[CHANGES_FILE_NAME]));
        let (guardrails, texts): (Vec<_>, Vec<_>) =
            texts.into_iter().partition(|text| Path::new(&text.name).starts_with(GUARDRAILS));
        let texts = texts.into_iter().filter(|text| !has_extension(Path::new(&text.name), SUITE_EXTENSIONS));
        let (schemas, policies) = texts.partition(|text| is_schema(Path::new(&text.name)));
        let schema = single_schema(schemas, folder);
        Self { schema, policies, guardrails, routes, changes, lookalikes: Vec::new(), identity_sources: None }
    }

    /// Parses the schema. If it equals the current one, that is returned.
    ///
    /// # Errors
    /// All diagnostics of the schema, and the syntax errors of the policies.
    pub fn parse_schema(
        &self,
        current: Option<&Arc<Schema>>,
    ) -> Result<(Arc<Schema>, Diagnostics), Diagnostics> {
        let parsed = self.schema.clone().and_then(|source| Schema::parse(&source));
        let (schema, mut warnings) = parsed.map_err(|mut diagnostics| {
            diagnostics.extend(Policies::check_syntax(&self.policies));
            diagnostics.extend(self.not_read());
            diagnostics
        })?;
        warnings.extend(self.not_read());
        match current.filter(|current| current.digest() == schema.digest()) {
            Some(current) => Ok((Arc::clone(current), warnings)),
            None => Ok((Arc::new(schema), warnings)),
        }
    }

    /// A warning for each file that looks like content of the folder: it may hold a forbid.
    fn not_read(&self) -> Diagnostics {
        let mut warnings = Diagnostics::default();
        for path in &self.lookalikes {
            let warning = Diagnostic::warning(format!(
                "`{}` looks like a file of the policy folder, and is not read",
                path.display()
            ));
            let help = "name it `NAME.cedar`, `NAME.cedarschema`, `NAME.routes.toml` or `NAME.changes.toml`, or move it elsewhere";
            warnings.push(warning.help(help));
        }
        warnings
    }

    /// Parses policies, routes and changes by the schema.
    ///
    /// # Errors
    /// All diagnostics of the three.
    pub fn parse(&self, schema: Arc<Schema>) -> Result<ParsedPolicies, Diagnostics> {
        let changes = Changes::parse(&self.changes, &schema);
        let routes = Routes::parse_restricted(&self.routes, &schema, self.identity_sources.as_deref());
        let policies = Policies::parse(&self.policies, schema)
            .and_then(|(policies, warnings)| reject_claims(&policies).map(|()| (policies, warnings)));
        match (policies, routes, changes) {
            (Ok((policies, mut warnings)), Ok(routes), Ok(changes)) => {
                warnings.extend(unknown_annotations(&policies, POLICY_ANNOTATIONS));
                let (policies, routes, changes) = (Arc::new(policies), Arc::new(routes), Arc::new(changes));
                Ok(ParsedPolicies { policies, routes, changes, warnings })
            }
            (policies, routes, changes) => {
                let mut diagnostics = policies.err().unwrap_or_default();
                diagnostics.extend(routes.err().unwrap_or_default());
                diagnostics.extend(changes.err().unwrap_or_default());
                Err(diagnostics)
            }
        }
    }
}

/// Refuses claims among the policies: there, a ceiling would grant what it is meant to bound.
fn reject_claims(policies: &Policies) -> Result<(), Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    for info in policies.infos() {
        let policy = policies.cedar_policies().policy(&PolicyId::new(&info.id));
        if policy.is_some_and(|policy| policy.annotation("claim").is_some()) {
            let diagnostic = Diagnostic::error(format!("`{}` is a claim among the policies", info.id));
            let help =
                format!("move it to `{GUARDRAILS}/` in the folder of the policies, or remove `@claim`");
            diagnostics.push(diagnostic.help(help).at(info.span.clone()));
        }
    }
    diagnostics.into_result().map(|_| ())
}

/// Whether a file, by its path inside the policy folder, belongs to its content.
pub(super) fn is_policy_folder_file(name: &Path) -> bool {
    has_extension(name, POLICY_EXTENSIONS) && !is_hidden(name) && !name.starts_with(TESTS)
}

/// Whether a folder can be listed and has a schema. The mount point of a volume that is not mounted has none.
pub(super) fn has_schema(root: &Path) -> bool {
    let listing = Folder::new(root, POLICY_EXTENSIONS, &[TESTS]).list();
    listing.is_ok_and(|listing| listing.files.keys().any(|name| is_schema(Path::new(name))))
}

fn single_schema(mut schemas: Vec<Arc<SourceText>>, folder: &str) -> Result<Arc<SourceText>, Diagnostics> {
    match (schemas.pop(), schemas.pop()) {
        (Some(schema), None) => Ok(schema),
        (None, _) => {
            let message = format!("there is no schema in `{folder}`");
            Err(Diagnostic::error(message).help("put one there as `schema.cedarschema`").into())
        }
        (Some(one), Some(other)) => {
            let message = format!("there are several schemas: `{}` and `{}`", other.path, one.path);
            Err(Diagnostic::error(message)
                .help("keep one `.cedarschema` file; it can hold several namespaces")
                .into())
        }
    }
}

fn is_schema(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cedarschema")
}
