//! What a PTX text declares: its entries and the sizes of their parameters.
//!
//! The driver takes a launch's arguments as untyped pointers and reads as many bytes as the kernel
//! declares, so a launch that brings fewer reads past them. The declarations are therefore read
//! here, and each launch is checked against them. The grammar is that of the PTX ISA, section
//! "Kernel Function Directives"; only what a declaration can contain is read.

/// An entry's name and the size of each of its parameters, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryDeclaration {
    pub(crate) name: String,
    pub(crate) parameters: Vec<usize>,
}

/// The entries of a PTX text, in its order.
///
/// # Errors
/// A sentence that names the entry and what could not be read.
pub(crate) fn entries(text: &str) -> Result<Vec<EntryDeclaration>, String> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for declaration in code.split(".entry").skip(1) {
        found.push(entry(declaration)?);
    }
    if found.is_empty() { Err("the PTX has no `.entry`".into()) } else { Ok(found) }
}

fn entry(declaration: &str) -> Result<EntryDeclaration, String> {
    let head = declaration.split(['{', ';']).next().unwrap_or_default();
    let (name, rest) = match head.split_once('(') {
        Some((name, rest)) => (name, rest.split(')').next().unwrap_or_default()),
        None => (head.split_whitespace().next().unwrap_or_default(), ""),
    };
    let name = name.trim();
    if name.is_empty() {
        return Err("an `.entry` of the PTX has no name".into());
    }
    let parameters = rest
        .split(',')
        .map(str::trim)
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            size(parameter).ok_or_else(|| format!("entry {name}: cannot read `{parameter}`"))
        })
        .collect::<Result<_, _>>()?;
    Ok(EntryDeclaration { name: name.into(), parameters })
}

/// The size of `.param .u32 n`, `.param .align 8 .b8 s[24]`, `.param .u64 .ptr .global p`, …
fn size(parameter: &str) -> Option<usize> {
    let words: Vec<&str> = parameter.split_whitespace().collect();
    let parts = words.iter().find_map(|word| vector(word)).unwrap_or(1);
    let element = parts * words.iter().skip(1).find_map(|word| scalar(word))?;
    let name = words.last()?;
    let Some((_, count)) = name.split_once('[') else { return Some(element) };
    let count: usize = count.strip_suffix(']')?.parse().ok()?;
    element.checked_mul(count)
}

/// How many parts a vector has.
fn vector(word: &str) -> Option<usize> {
    [(".v2", 2), (".v4", 4)].into_iter().find(|(name, _)| *name == word).map(|(_, parts)| parts)
}

fn scalar(word: &str) -> Option<usize> {
    Some(match word {
        ".u8" | ".s8" | ".b8" => 1,
        ".u16" | ".s16" | ".b16" | ".f16" => 2,
        ".u32" | ".s32" | ".b32" | ".f32" | ".f16x2" => 4,
        ".u64" | ".s64" | ".b64" | ".f64" => 8,
        _ => return None,
    })
}

fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        code.push_str(&rest[..start]);
        rest = rest[start..].find("*/").map_or("", |end| &rest[start + end + 2..]);
    }
    code.push_str(rest);
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        .version 6.0   // .entry in a comment
        .target sm_50
        .address_size 64
        /* .entry neither( .param .u8 x ) */
        .visible .entry saxpy(
            .param .f32 saxpy_param_0,
            .param .u64 .ptr .global .align 4 saxpy_param_1,
            .param .align 8 .b8 saxpy_param_2[24],
            .param .u16 saxpy_param_3
        )
        .maxntid 256, 1, 1
        { ret; }
        .entry bare { ret; }
        .visible .entry none() { ret; }
    ";

    fn declared(name: &str, parameters: &[usize]) -> EntryDeclaration {
        EntryDeclaration { name: name.into(), parameters: parameters.into() }
    }

    #[test]
    fn a_vector_has_the_size_of_its_parts_and_no_size_overflows() {
        assert_eq!(size(".param .v2 .u32 pair"), Some(8));
        assert_eq!(size(".param .align 16 .v4 .f32 four"), Some(16));
        assert_eq!(size(".param .u64 many[18446744073709551615]"), None);
    }

    #[test]
    fn the_sizes_of_each_entrys_parameters_are_read() {
        let expected =
            [declared("saxpy", &[4, 8, 24, 2]), declared("bare", &[]), declared("none", &[])];
        assert_eq!(entries(TEXT).unwrap(), expected);
    }

    #[test]
    fn a_text_without_entries_or_with_strange_ones_is_refused() {
        for (text, part) in [
            ("", "no `.entry`"),
            ("hello", "no `.entry`"),
            (".entry (.param .u32 x) {}", "no name"),
            (".entry f(.param .u99 x) {}", "cannot read `.param .u99 x`"),
            (".entry f(.param .b8 x[many]) {}", "x[many]"),
            ("/* .entry f", "no `.entry`"),
        ] {
            let error = entries(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
