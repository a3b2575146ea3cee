//! Checks that no two modules of a crate import each other, directly or through other modules. A module is a
//! file. It imports another module if a `use` or a path in its code, outside of unit tests, names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

use crate::support::repository_path;

/// The path of a module in its crate; empty for the crate's root.
type Module = Vec<String>;

/// The source text of each module of a crate.
type Sources = BTreeMap<Module, String>;

/// Reads all modules in `folder`, which belongs to the module `parent`.
fn read_sources(folder: &Path, parent: &Module, sources: &mut Sources) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, stem) = (entry.path(), entry.path().file_stem().unwrap().to_string_lossy().into_owned());
        let mut module = parent.clone();
        if path.is_dir() {
            module.push(stem);
            read_sources(&path, &module, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // If there is a `lib.rs`, `main.rs` is a crate of its own that imports the library by its name.
            let is_root = stem == "lib" || stem == "main" && !folder.join("lib.rs").exists();
            if !(parent.is_empty() && is_root) {
                module.push(stem);
            }
            sources.insert(module, fs::read_to_string(path).unwrap());
        }
    }
}

/// Finds the modules that one module imports.
struct Imports<'a> {
    sources: &'a Sources,
    module: &'a Module,
    found: BTreeSet<Module>,
}

impl Imports<'_> {
    /// Adds the module that a path leads to. A path into another crate is ignored.
    fn add(&mut self, path: &[String]) {
        let mut base = match path.first().map(String::as_str) {
            Some("crate") => Module::new(),
            Some("self") => self.module.clone(),
            Some("super") => {
                let levels = path.iter().take_while(|segment| *segment == "super").count();
                self.module[..self.module.len() - levels].to_vec()
            }
            Some(first) => {
                let child: Module = self.module.iter().cloned().chain([first.to_owned()]).collect();
                if !self.sources.contains_key(&child) {
                    return;
                }
                self.module.clone()
            }
            None => return,
        };
        base.extend(
            path.iter().filter(|segment| !["crate", "self", "super"].contains(&segment.as_str())).cloned(),
        );
        // The last segments of the path may name items of a module.
        while !self.sources.contains_key(&base) && base.pop().is_some() {}
        if base != *self.module {
            self.found.insert(base);
        }
    }

    fn add_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let extended =
            |name: &syn::Ident| -> Vec<String> { prefix.iter().cloned().chain([name.to_string()]).collect() };
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&extended(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&extended(&name.ident)),
            syn::UseTree::Rename(name) => self.add(&extended(&name.ident)),
            syn::UseTree::Glob(_) => self.add(prefix),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.add_tree(prefix, item)),
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let text = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    };
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && text(attribute) == "test")
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.add_tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}

/// The imports of each module.
fn imports(sources: &Sources) -> BTreeMap<&Module, BTreeSet<Module>> {
    let mut all = BTreeMap::new();
    for (module, text) in sources {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", module.join("::")));
        let mut imports = Imports { sources, module, found: BTreeSet::new() };
        imports.visit_file(&file);
        all.insert(module, imports.found);
    }
    all
}

/// The modules that import themselves through other modules.
fn modules_in_circles(sources: &Sources) -> Vec<String> {
    let imports = imports(sources);
    let reaches_itself = |start: &Module| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&Module> = imports[start].iter().collect();
        while let Some(module) = open.pop() {
            if reached.insert(module) {
                open.extend(&imports[module]);
            }
        }
        reached.contains(start)
    };
    imports.keys().filter(|module| reaches_itself(module)).map(|module| module.join("::")).collect()
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let crates = fs::read_dir(repository_path("crates")).unwrap().map(|entry| entry.unwrap().path());
    for root in crates.chain([repository_path(""), repository_path("bench")]) {
        let mut sources = Sources::new();
        read_sources(&root.join("src"), &Module::new(), &mut sources);
        assert!(!sources.is_empty(), "{}", root.display());
        assert_eq!(modules_in_circles(&sources), [""; 0], "{}", root.display());
    }
}

#[track_caller]
fn check_circles(files: &[(&str, &str)], circles: &[&str]) {
    let module =
        |path: &str| path.split("::").filter(|segment| !segment.is_empty()).map(ToOwned::to_owned).collect();
    let files = files.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect();
    assert_eq!(modules_in_circles(&files), circles);
}

#[test]
fn circles_are_found() {
    check_circles(&[("", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "use std::fmt; struct B;")], &[]);
    check_circles(&[("a", "use crate::b::B;"), ("b", "fn b(_: super::a::A) {}")], &["a", "b"]);
    check_circles(
        &[("a", "use super::b;"), ("b", "pub use crate::{c::{self, C}};"), ("c", "fn c() { crate::a::a() }")],
        &["a", "b", "c"],
    );
    check_circles(&[("a", "mod b; pub use b::B;"), ("a::b", "use super::A; struct B;")], &["a", "a::b"]);
    check_circles(&[("a", "use crate::b::B;"), ("b", "#[cfg(test)] mod tests { use crate::a::A; }")], &[]);
}
