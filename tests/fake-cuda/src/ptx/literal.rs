//! The numbers of PTX: integers in four bases, floats in decimal or as their bits.

/// A literal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// An integer in two's complement: PTX computes constants in 64 bits.
    Integer(u64),
    /// `0f3F800000`: the bits of a single.
    Single(u32),
    /// `0d3FF0000000000000`, or a decimal literal.
    Double(u64),
}

impl Number {
    /// The literal that `text` is, if it is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if let Some(bits) = lower.strip_prefix("0f").filter(|bits| bits.len() == 8) {
            return u32::from_str_radix(bits, 16).ok().map(Self::Single);
        }
        if let Some(bits) = lower.strip_prefix("0d").filter(|bits| bits.len() == 16) {
            return u64::from_str_radix(bits, 16).ok().map(Self::Double);
        }
        if let Some(value) = integer(lower.strip_suffix('u').unwrap_or(&lower)) {
            return Some(Self::Integer(value));
        }
        let decimal = Some(&lower).filter(|text| text.contains(['.', 'e']))?;
        decimal.parse().ok().map(|value: f64| Self::Double(value.to_bits()))
    }

    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Integer(value) => Self::Integer(value.wrapping_neg()),
            Self::Single(bits) => Self::Single(bits ^ 1 << 31),
            Self::Double(bits) => Self::Double(bits ^ 1 << 63),
        }
    }
}

fn integer(text: &str) -> Option<u64> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x', ..] => (&text[2..], 16),
        [b'0', b'b', ..] => (&text[2..], 2),
        [b'0', _, ..] if !text.contains(['.', 'e']) => (&text[1..], 8),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, base).ok()
}

#[cfg(test)]
mod tests {
    use super::Number::{Double, Integer, Single};
    use super::*;

    #[test]
    fn every_base_and_both_float_notations() {
        let all = [
            ("0", Integer(0)),
            ("42", Integer(42)),
            ("42U", Integer(42)),
            ("0x1F", Integer(31)),
            ("0x0d", Integer(13)),
            ("017", Integer(15)),
            ("0b101", Integer(5)),
            ("18446744073709551615", Integer(u64::MAX)),
            ("0f3F800000", Single(1f32.to_bits())),
            ("0F3f800000", Single(1f32.to_bits())),
            ("0d3FF0000000000000", Double(1f64.to_bits())),
            ("1.5", Double(1.5f64.to_bits())),
            ("0.25", Double(0.25f64.to_bits())),
            ("2.5e-3", Double(2.5e-3f64.to_bits())),
        ];
        for (text, number) in all {
            assert_eq!(Number::parse(text), Some(number), "{text}");
        }
        for text in ["", "x", "0x", "08", "1.2.3", "%r1"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn negation_is_of_the_value() {
        assert_eq!(Integer(1).negated(), Integer(u64::MAX));
        assert_eq!(Single(1f32.to_bits()).negated(), Single((-1f32).to_bits()));
        assert_eq!(Double(1f64.to_bits()).negated(), Double((-1f64).to_bits()));
    }
}
