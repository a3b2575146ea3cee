//! Arguments that several commands share: the configuration file, and the content under flags, environment
//! and file.

use std::path::PathBuf;

use clap::Args;

use super::claims::{ClaimOptions, RequiredClaims};
use super::content::{ContentOptions, PolicyOptions};
use super::environment;
use super::file::ConfigFile;
use super::identity_sources::IdentitySourcesTable;
use super::limits::PolicyLimitOptions;
use super::options::Options;
use super::solver::SolverArguments;
use crate::error::CliError;
use mandate_sources::loader::{ContentPaths, PolicyFolder};
use mandate_sources::policy_limits::PolicyLimits;

/// Where the policies are; every command takes these.
#[derive(Clone, Args)]
pub struct PolicyArguments {
    #[command(flatten)]
    options: PolicyOptions,
    /// Read options from this configuration file (TOML); its keys are the names of the options
    #[arg(long, env = "MANDATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    limits: PolicyLimitOptions,
}

/// Where policies and entities are; every command that decides takes these.
#[derive(Args)]
pub struct ContentArguments {
    #[command(flatten)]
    policies: PolicyArguments,
    #[command(flatten)]
    options: ContentOptions,
}

impl PolicyArguments {
    /// The configuration file; empty if none is named.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(&self) -> Result<ConfigFile, CliError> {
        ConfigFile::read(self.config.as_deref())
    }

    /// The folder of the policies.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn folder(&self) -> Result<PathBuf, CliError> {
        let file = self.file()?;
        Ok(self.options.clone().or(file.policies).folder())
    }

    /// The limits of the policy folder.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn limits(&self) -> Result<PolicyLimits, CliError> {
        Ok(self.limits.clone().or(self.file()?.policy_limits).limits())
    }

    /// Loads the policy folder.
    ///
    /// # Errors
    /// The configuration file cannot be read, or something is wrong with the folder.
    pub fn load(self) -> Result<PolicyFolder, CliError> {
        let limits = self.limits()?;
        PolicyFolder::load(&self.folder()?, limits).map_err(CliError::Diagnostics)
    }

    /// The folder of the entities, for a command whose own arguments do not name it.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn entity_folder(&self) -> Result<PathBuf, CliError> {
        let configured = environment::entity_folder().or(self.file()?.content.entities);
        Ok(configured.unwrap_or_else(|| "entities".into()))
    }

    /// The file of the required claims, if there is one.
    ///
    /// # Errors
    /// The configuration file or that file cannot be read.
    pub fn required_claims(&self, options: ClaimOptions) -> Result<Option<RequiredClaims>, CliError> {
        let file = self.file()?;
        options.or(file.claims).required(&self.options.clone().or(file.policies).folder())
    }

    /// These options of the solver; where one is not set, the configuration file's.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn solver(&self, arguments: SolverArguments) -> Result<SolverArguments, CliError> {
        Ok(arguments.or(self.file()?.solver))
    }
}

impl ContentArguments {
    /// As [`PolicyArguments::file`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(&self) -> Result<ConfigFile, CliError> {
        self.policies.file()
    }

    /// As [`PolicyArguments::solver`].
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn solver(&self, arguments: SolverArguments) -> Result<SolverArguments, CliError> {
        self.policies.solver(arguments)
    }

    /// The folders, and how requests are parsed.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn content_paths(self) -> Result<ContentPaths, CliError> {
        let file = self.file()?;
        Ok(self.or_file(file.policies, file.content, file.policy_limits, file.identity_sources))
    }

    /// As [`Self::content_paths`], with a file that was read already.
    pub fn or_file(
        self,
        policies: PolicyOptions,
        content: ContentOptions,
        limits: PolicyLimitOptions,
        identity_sources: Option<IdentitySourcesTable>,
    ) -> ContentPaths {
        let PolicyArguments { options, limits: flags, config: _ } = self.policies;
        self.options.or(content).content_paths(options.or(policies), &flags.or(limits), identity_sources)
    }
}
