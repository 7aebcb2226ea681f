//! Rules that are executed: dependencies, licences, unsafe code, words, sizes.
//!
//! `cargo test -p rustkernel-tests --test tidy -- --nocapture` also prints the sizes of files and
//! functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use ignore::WalkBuilder;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap()
}

/// Files that are, or may become, part of the repository, by their ending.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let walk = WalkBuilder::new(root())
        .hidden(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let found = walk.map(Result::unwrap).map(ignore::DirEntry::into_path);
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|ending| endings.iter().any(|one| ending == *one))
    };
    found.filter(wanted).collect()
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The table of ARCHITECTURE.md: for each crate what it may know.
fn allowed_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| rustkernel-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, workspace, others] = cells[..] else { panic!("three cells: {row}") };
        let all = [workspace, others].join(",");
        let all = all.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty());
        (name.to_owned(), all.collect())
    })
    .collect()
}

fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

#[test]
fn every_dependency_is_in_the_architecture() {
    let metadata = metadata();
    let allowed = allowed_dependencies();
    for package in metadata.workspace_packages().into_iter().filter(|package| is_published(package))
    {
        let direct = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal);
        let direct: BTreeSet<String> = direct.map(|dependency| dependency.name.clone()).collect();
        assert_eq!(
            Some(&direct),
            allowed.get(package.name.as_str()),
            "{}: see ARCHITECTURE.md",
            package.name
        );
    }
}

#[test]
fn licences_and_sources_are_those_that_deny_toml_allows() {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let texts = |table: &str, key: &str| -> BTreeSet<String> {
        let list = deny[table][key].as_array().unwrap();
        list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let (licences, registries) = (texts("licenses", "allow"), texts("sources", "allow-registry"));
    for package in metadata().packages {
        let expression =
            package.license.as_deref().unwrap_or_else(|| panic!("{} has no licence", package.name));
        // (cargo once let `/` stand for `OR`.)
        let expression = spdx::Expression::parse(&expression.replace('/', " OR ")).unwrap();
        let may_be_used =
            expression.evaluate(|requirement| licences.contains(&requirement.to_string()));
        assert!(may_be_used, "{}: {expression}", package.name);
        let Some(source) = package.source else { continue };
        let registry = source.repr.strip_prefix("registry+").unwrap_or(&source.repr);
        assert!(registries.contains(registry), "{}: {registry}", package.name);
    }
}

/// Paths under which unsafe code may stand: the device layer, and the stand-in for the driver.
const UNSAFE: [&str; 2] = ["gpu/", "tests/fake-cuda/"];

#[test]
fn unsafe_code_is_in_gpu_alone() {
    for path in files(&["rs"]) {
        let name = name(&path);
        if UNSAFE.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        let syntax = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut found = Unsafe::default();
        found.visit_file(&syntax);
        assert_eq!(found.0, 0, "{name} has unsafe code");
    }
    let metadata = metadata();
    for package in metadata.workspace_packages().into_iter().filter(|package| is_published(package))
    {
        for target in package.targets.iter().filter(|target| is_code(target)) {
            let path = target.src_path.clone().into_std_path_buf();
            let forbids = fs::read_to_string(&path).unwrap().contains("#![forbid(unsafe_code)]");
            let may_use = UNSAFE.iter().any(|allowed| name(&path).starts_with(allowed));
            assert!(forbids || may_use, "{} has to forbid unsafe code", name(&path));
        }
    }
}

fn is_code(target: &cargo_metadata::Target) -> bool {
    target.is_lib() || target.is_proc_macro() || target.is_bin()
}

#[derive(Default)]
struct Unsafe(usize);

impl<'ast> Visit<'ast> for Unsafe {
    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.0 += 1;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.0 += usize::from(item.unsafety.is_some());
        visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.0 += usize::from(signature.unsafety.is_some());
        visit::visit_signature(self, signature);
    }
}

#[test]
fn every_module_says_what_it_is() {
    for path in files(&["rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} has to open with `//!`", name(&path));
    }
}

#[test]
fn no_words_that_put_work_off() {
    // (Put together here, so that this file has none of them.)
    let banned = ["TO DO", "FIX ME", "X XX", "HA CK", "unimplemented !", "to do!"]
        .map(|word| word.replace(' ', ""));
    for path in files(&["rs", "md", "toml", "py", "cu", "cuh", "ptx", "sh", "yml", "yaml"]) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let found = banned.iter().find(|word| line.contains(word.as_str()));
            assert!(found.is_none(), "{}:{}: {found:?}", name(&path), number + 1);
        }
    }
}

#[test]
fn links_within_the_documentation_lead_somewhere() {
    for path in files(&["md"]) {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let target = path.parent().unwrap().join(link);
            assert!(target.exists(), "{}: {link}", name(&path));
        }
    }
}

/// Lengths of functions in lines, with where they are.
#[derive(Default)]
struct Functions {
    file: String,
    found: Vec<(usize, String)>,
}

impl Functions {
    fn add(&mut self, name: &syn::Ident, whole: proc_macro2::Span) {
        let lines = whole.end().line - whole.start().line + 1;
        self.found.push((lines, format!("{}:{} {name}", self.file, whole.start().line)));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig.ident, function.sig.span().join(function.block.span()).unwrap());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig.ident, function.sig.span().join(function.block.span()).unwrap());
        visit::visit_impl_item_fn(self, function);
    }
}

fn quantile(sorted: &[(usize, String)], part: f64) -> usize {
    sorted[((sorted.len() - 1) as f64 * part) as usize].0
}

/// Prints the longest and the quantiles; the bounds are for what nobody would call short.
fn report(what: &str, mut sizes: Vec<(usize, String)>, most: usize) {
    sizes.sort();
    let [median, p90] = [0.5, 0.9].map(|part| quantile(&sizes, part));
    println!("{what}: {} of them, median {median} lines, p90 {p90}", sizes.len());
    sizes.iter().rev().take(5).for_each(|(lines, place)| println!("  {lines:>5} {place}"));
    let (longest, place) = sizes.last().unwrap();
    assert!(*longest <= most, "{place} has {longest} lines");
}

#[test]
fn files_and_functions_are_short() {
    // Generated tables are as long as what they list.
    let generated = ["gpu/driver/src/table.rs", "gpu/driver/src/codes.rs"];
    let (mut lines, mut functions) = (Vec::new(), Functions::default());
    for path in files(&["rs"]) {
        let file = name(&path);
        if generated.contains(&file.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        lines.push((text.lines().count(), file.clone()));
        functions.file = file;
        functions.visit_file(&syn::parse_file(&text).unwrap());
    }
    report("files", lines, 900);
    report("functions", functions.found, 120);
}

/// The numbers of sentences, `S1` and so on, that follow `before` in a text.
fn sentences(text: &str, before: &str) -> BTreeSet<u32> {
    let lines = text.lines().filter_map(|line| line.split_once(before));
    let words = lines.flat_map(|(_, rest)| rest.split(|char: char| !char.is_alphanumeric()));
    words.filter_map(|word| word.strip_prefix('S')?.parse().ok()).collect()
}

#[test]
fn every_sentence_of_the_semantics_has_a_test() {
    let page = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let page: Vec<&str> = page.lines().filter(|line| line.starts_with("* **S")).collect();
    let promised: BTreeSet<u32> = sentences(&page.join("\n"), "* **");
    assert_eq!(promised, (1..=u32::try_from(page.len()).unwrap()).collect(), "in order");
    let tests = files(&["rs"]).into_iter().filter(|path| !name(path).ends_with("tidy.rs"));
    let tested: BTreeSet<u32> = tests
        .flat_map(|path| sentences(&fs::read_to_string(path).unwrap(), "Semantics: "))
        .collect();
    let missing: Vec<_> = promised.difference(&tested).collect();
    assert!(missing.is_empty(), "sentences without a test: {missing:?}");
    let unknown: Vec<_> = tested.difference(&promised).collect();
    assert!(unknown.is_empty(), "tests of sentences that are not there: {unknown:?}");
}
