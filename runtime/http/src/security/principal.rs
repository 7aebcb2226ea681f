//! Who somebody is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::roles::{Permission, Role};

/// Who somebody is: a name, and what follows from it. (A tenant will be one more field; nothing depends
/// on one yet.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(Arc<Known>);

#[derive(Debug, PartialEq, Eq)]
struct Known {
    name: String,
    roles: Vec<Role>,
    kernels: Vec<Pattern>,
}

impl Principal {
    /// Somebody of that name, as the audit log shows it: `key:ID`, `jwt:SUBJECT`, `unix:UID`. They may do
    /// what one of their roles may, to kernels that one of the patterns fits.
    pub fn new(name: impl Into<String>, roles: Vec<Role>, kernels: Vec<Pattern>) -> Self {
        Self(Arc::new(Known { name: name.into(), roles, kernels }))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The names of the roles.
    pub fn roles(&self) -> Vec<&'static str> {
        self.0.roles.iter().map(|role| role.name()).collect()
    }

    /// Whether a kernel is one of those that they are let to.
    pub fn is_let_to(&self, kernel: &str) -> bool {
        self.0.kernels.iter().any(|pattern| pattern.fits(kernel))
    }

    /// Whether they may do that, to that kernel if it is about one.
    pub fn may(&self, permission: Permission, kernel: Option<&str>) -> bool {
        let role = self.0.roles.iter().any(|role| role.may(permission));
        role && kernel.is_none_or(|name| self.is_let_to(name))
    }
}

/// A pattern of kernels' names: `*` stands for any text, `?` for any one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no pattern of kernels' names: write up to 128 letters, digits, `_`, `-`, `.`, `*` and `?`"
)]
pub struct InvalidPattern(String);

impl Pattern {
    /// Fits every name.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Whether a name is of this pattern.
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut place) = (0, 0);
        // The last star, and the first byte of the name that it does not stand for.
        let mut star: Option<(usize, usize)> = None;
        while place < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, place));
                    at += 1;
                }
                Some(sign) if *sign == b'?' || *sign == name[place] => {
                    at += 1;
                    place += 1;
                }
                _ => match star {
                    Some((star_at, from)) => {
                        star = Some((star_at, from + 1));
                        (at, place) = (star_at + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|sign| *sign == b'*')
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let sign = |sign: u8| sign.is_ascii_alphanumeric() || b"_-.*?".contains(&sign);
        let fits = !text.is_empty() && text.len() <= 128 && text.bytes().all(sign);
        if fits { Ok(Self(text.into())) } else { Err(InvalidPattern(text.into())) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, name: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().fits(name)
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "gemm"),
            ("g*", "gemm"),
            ("*m", "gemm"),
            ("g*m?", "gemma"),
            ("g??m", "gemm"),
            ("a*b*c", "a_b_b_c"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("gemm", "gemma"), ("gemm", "Gemm"), ("?", ""), ("g*m", "gemma"), ("a*b*c", "a_c_b")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        for wrong in ["", "a b", "a/b", "[a]", "a%", "ä"] {
            assert_eq!(wrong.parse::<Pattern>(), Err(InvalidPattern(wrong.into())));
        }
    }

    /// As the sentence says it, at whatever cost.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
            (Some((sign, rest)), Some((first, name))) => {
                (*sign == b'?' || sign == first) && naive(rest, name)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_sentence_says(pattern in "[ab*?]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(fits(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
