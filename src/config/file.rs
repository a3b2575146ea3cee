//! The configuration file: TOML, read strictly. Each group of [`options`](super::options) takes its keys out
//! of a table; what nothing takes is an error. All errors are reported at once, with their places.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::claims::ClaimOptions;
use super::content::{ContentOptions, PolicyOptions};
use super::identity_sources::IdentitySourcesTable;
use super::limits::{LimitOptions, PolicyLimitOptions};
use super::listeners::{Addresses, ListenerOptions, ListenerTable};
use super::options::Options;
use super::pages::PagesOptions;
use super::serving::ServingOptions;
use super::solver::SolverArguments;
use crate::error::CliError;
use mandate_core::diagnostics::{Diagnostic, Diagnostics, SourceSpan, SourceText};

/// The configuration file: the options of all commands.
#[derive(Default)]
pub struct ConfigFile {
    pub policies: PolicyOptions,
    pub content: ContentOptions,
    pub solver: SolverArguments,
    pub claims: ClaimOptions,
    pub serving: ServingOptions,
    pub pages: PagesOptions,
    pub listen: Option<Addresses>,
    pub admin_listen: Option<String>,
    pub health_listen: Option<String>,
    /// The options of the listeners of `listen`.
    pub listener: ListenerOptions,
    pub listener_tables: Vec<ListenerTable>,
    pub admin: Option<ListenerTable>,
    pub limits: LimitOptions,
    pub policy_limits: PolicyLimitOptions,
    pub identity_sources: Option<IdentitySourcesTable>,
    /// Deprecated keys.
    pub warnings: Diagnostics,
}

impl ConfigFile {
    /// Reads the file; empty if none is named.
    ///
    /// # Errors
    /// It cannot be read, or has unknown keys or unsuitable values.
    pub fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|error| CliError::file("read", path, error))?;
        Self::parse(&SourceText::new(path.to_string_lossy(), text)).map_err(CliError::Diagnostics)
    }

    fn parse(source: &Arc<SourceText>) -> Result<Self, Diagnostics> {
        let mut reader = Reader { source: Arc::clone(source), diagnostics: Vec::new() };
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        for error in &errors {
            reader.push(error.message(), error.span());
        }
        // Errors about the part that could be parsed would be misleading.
        let root = if errors.is_empty() { root.into_inner() } else { DeTable::new() };
        let file = reader.file(Section::new(root));
        Ok(ConfigFile { warnings: reader.finish().into_result()?, ..file })
    }
}

/// A table whose keys are being taken.
#[derive(Default)]
struct Section<'i> {
    table: DeTable<'i>,
    /// The keys that the table may have, for the error about other keys.
    known: Vec<String>,
}

impl<'i> Section<'i> {
    fn new(table: DeTable<'i>) -> Self {
        Self { table, known: Vec::new() }
    }

    /// Takes the keys of a group of options out of the table.
    fn take<T: Options>(&mut self) -> Self {
        let (taken, left) =
            std::mem::take(&mut self.table).into_iter().partition(|(key, _)| T::has_key(key.get_ref()));
        self.table = left;
        Self::new(taken)
    }
}

struct Reader {
    source: Arc<SourceText>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    /// What was reported, in the order of the file.
    fn finish(mut self) -> Diagnostics {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.offset));
        let mut diagnostics = Diagnostics::default();
        for diagnostic in self.diagnostics {
            diagnostics.push(diagnostic);
        }
        diagnostics
    }

    fn span(&self, range: std::ops::Range<usize>) -> SourceSpan {
        SourceSpan::new(&self.source, range.start, range.len())
    }

    fn push(&mut self, message: impl Into<String>, range: Option<std::ops::Range<usize>>) {
        let span = range.map(|range| self.span(range));
        self.diagnostics.push(Diagnostic::error(message).at(span));
    }

    fn file(&mut self, mut root: Section<'_>) -> ConfigFile {
        let mut file = ConfigFile {
            policies: self.options(&mut root),
            content: self.options(&mut root),
            solver: self.options(&mut root),
            claims: self.options(&mut root),
            serving: self.options(&mut root),
            pages: self.options(&mut root),
            listen: self.key(&mut root, "listen"),
            admin_listen: self.key(&mut root, "admin-listen"),
            health_listen: self.key(&mut root, "health-listen"),
            listener: self.options(&mut root),
            listener_tables: self.tables(&mut root, "listener"),
            admin: self.table(&mut root, "admin").map(|table| self.listener(table)),
            identity_sources: self.key(&mut root, "identity-sources"),
            ..ConfigFile::default()
        };
        (file.limits, file.policy_limits) = self.limits(&mut root);
        self.report_unknown_keys(&root);
        file
    }

    /// `[limits]`, and the options of `mandate serve` at the top level, where they were before there was that
    /// table.
    fn limits(&mut self, root: &mut Section<'_>) -> (LimitOptions, PolicyLimitOptions) {
        let flat = root.take::<LimitOptions>();
        let mut nested = self.table(root, "limits").unwrap_or_default();
        for (key, _) in &flat.table {
            let name = key.get_ref();
            let diagnostic = match nested.table.get_key_value(&**name) {
                Some((other, _)) => {
                    let line = self.span(other.span()).line_column().0;
                    Diagnostic::error(format!(
                        "`{name}` is set at the top level and in `[limits]`, line {line}"
                    ))
                    .help("keep the one in `[limits]`")
                }
                None => Diagnostic::warning(format!(
                    "`{name}` at the top level is deprecated: move it to `[limits]`"
                )),
            };
            let diagnostic = diagnostic.at(self.span(key.span()));
            self.diagnostics.push(diagnostic);
        }
        let flat: LimitOptions = self.deserialize(flat);
        let limits = self.options::<LimitOptions>(&mut nested).or(flat);
        let policy_limits = self.options(&mut nested);
        self.report_unknown_keys(&nested);
        (limits, policy_limits)
    }

    fn listener(&mut self, mut table: Section<'_>) -> ListenerTable {
        let table_options =
            ListenerTable { address: self.key(&mut table, "address"), options: self.options(&mut table) };
        self.report_unknown_keys(&table);
        table_options
    }

    /// Takes a group of options.
    fn options<T: Options>(&mut self, section: &mut Section<'_>) -> T {
        section.known.extend(T::FIELDS.iter().map(|field| field.replace('_', "-")));
        let taken = section.take::<T>();
        self.deserialize(taken)
    }

    fn deserialize<T: Options>(&mut self, section: Section<'_>) -> T {
        let mut options = T::default();
        for (key, value) in section.table {
            let (name, span) = (key.get_ref().to_string(), value.span());
            let table = Spanned::new(span, DeValue::Table(DeTable::from_iter([(key, value)])));
            if let Some(option) = self.value::<T>(&name, table) {
                options = option.or(options);
            }
        }
        options
    }

    fn value<T: DeserializeOwned>(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> Option<T> {
        let whole = value.span();
        let value = T::deserialize(ValueDeserializer::from(value));
        value
            .map_err(|error| {
                self.push(format!("`{key}`: {}", error.message()), error.span().or(Some(whole)));
            })
            .ok()
    }

    /// Takes the value of one key.
    fn key<T: DeserializeOwned>(&mut self, section: &mut Section<'_>, key: &str) -> Option<T> {
        section.known.push(key.to_owned());
        let value = section.table.remove(key)?;
        self.value(key, value)
    }

    /// Takes a table.
    fn table<'i>(&mut self, section: &mut Section<'i>, key: &str) -> Option<Section<'i>> {
        section.known.push(key.to_owned());
        let value = section.table.remove(key)?;
        self.as_table(key, value)
    }

    /// Takes an array of tables.
    fn tables(&mut self, section: &mut Section<'_>, key: &str) -> Vec<ListenerTable> {
        section.known.push(key.to_owned());
        let Some(value) = section.table.remove(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(values) = value.into_inner() else {
            let diagnostic =
                Diagnostic::error(format!("`{key}` has to be an array of tables: write `[[{key}]]`"));
            self.diagnostics.push(diagnostic.at(self.span(span)));
            return Vec::new();
        };
        let tables = values.into_iter().filter_map(|value| {
            let table = self.as_table(key, value)?;
            Some(self.listener(table))
        });
        tables.collect()
    }

    fn as_table<'i>(&mut self, key: &str, value: Spanned<DeValue<'i>>) -> Option<Section<'i>> {
        let span = value.span();
        let found = value.get_ref().type_str();
        if let DeValue::Table(table) = value.into_inner() {
            return Some(Section::new(table));
        }
        let diagnostic = Diagnostic::error(format!("`{key}` has to be a table, found {found}"));
        self.diagnostics.push(diagnostic.at(self.span(span)));
        None
    }

    /// Reports the keys that nothing took.
    fn report_unknown_keys(&mut self, section: &Section<'_>) {
        let known: Vec<String> = section.known.iter().map(|key| format!("`{key}`")).collect();
        for key in section.table.keys() {
            let diagnostic = Diagnostic::error(format!("unknown field `{}`", key.get_ref()))
                .help(format!("the fields are {}", known.join(", ")))
                .at(self.span(key.span()));
            self.diagnostics.push(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(&SourceText::new("f", text)).map_err(|diagnostics| diagnostics.to_string())
    }

    #[track_caller]
    fn refused(text: &str, says: &[&str]) {
        let errors = parse(text).err().unwrap();
        assert_eq!(errors.lines().collect::<Vec<_>>(), says, "{text}");
    }

    #[test]
    fn limits_stand_in_their_table() {
        let file = parse("[limits]\nmax-batch = 7\nread-timeout = \"1s\"").ok().unwrap();
        assert_eq!(file.limits.config().api.max_batch_items, 7);
        assert_eq!(file.limits.config().api.body_timeout.as_secs(), 1);
        assert!(file.warnings.is_empty());
    }

    #[test]
    fn limits_at_the_top_level_are_deprecated() {
        let file = parse("max-batch = 7\n[limits]\nmax-page = 8").ok().unwrap();
        let limits = file.limits.config().api;
        assert_eq!((limits.max_batch_items, limits.max_page_size), (7, 8));
        assert_eq!(
            file.warnings.to_string(),
            "f:1:1: `max-batch` at the top level is deprecated: move it to `[limits]`"
        );
        refused(
            "max-batch = 7\n[limits]\nmax-batch = 7",
            &[
                "f:1:1: `max-batch` is set at the top level and in `[limits]`, line 3 (keep the one in `[limits]`)",
            ],
        );
    }

    #[test]
    fn identity_sources_are_lists_of_names() {
        let file = parse("[identity-sources]\nheaders = [\"x-partner-id\"]").ok().unwrap();
        let sources = file.identity_sources.unwrap().into_identity_sources();
        assert_eq!((sources.headers.len(), sources.claims.len()), (1, 0));
        assert!(parse("").ok().unwrap().identity_sources.is_none());
        refused(
            "[identity-sources]\nheadres = []",
            &[
                "f:2:1: `identity-sources`: unknown field `headres`, expected one of `headers`, `claims`, `metadata`, `certificates`, `extensions`, `constants`",
            ],
        );
    }

    #[test]
    fn every_error_has_its_place() {
        let text =
            "\nlisen = 1\nmax_batch = 1\n[limits]\nmax-batch = 0\nmax-bach = 1\n[[listener]]\nadress = 1\n";
        let errors = parse(text).err().unwrap();
        for says in [
            "f:5:13: `max-batch`: has to be at least 1",
            "f:6:1: unknown field `max-bach` (the fields are `max-body-bytes`, ",
            "f:2:1: unknown field `lisen` (the fields are `policies`, ",
            "f:3:1: unknown field `max_batch`",
            "f:8:1: unknown field `adress` (the fields are `address`, `tls-cert`, ",
        ] {
            assert!(errors.lines().any(|line| line.starts_with(says)), "`{says}` is not in: {errors}");
        }
        refused("[limits]\nmax-header-bytes = 100", &["f:2:20: `max-header-bytes`: has to be at least 8192"]);
        refused(
            "poll = 1\nlog-format = \"x\"",
            &[
                "f:1:8: `poll`: invalid type: integer `1`, expected a duration",
                "f:2:14: `log-format`: unknown variant `x`, expected `text` or `json`",
            ],
        );
        refused("listen = 1", &["f:1:10: `listen`: has to be an address or an array of addresses"]);
        refused("limits = 1", &["f:1:10: `limits` has to be a table, found integer"]);
        refused("[listener]", &["f:1:1: `listener` has to be an array of tables: write `[[listener]]`"]);
        assert!(parse("listen = [").is_err());
    }
}
