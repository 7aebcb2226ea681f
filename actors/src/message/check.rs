//! Shapes against declared shapes.

use super::MessageError;
use super::signature::{Dimension, FieldKind, FieldSpec};

/// Checks the shapes of a message's tensors, given in the order of its fields.
///
/// # Errors
/// [`MessageError::WrongShape`] for the first tensor that does not fit.
pub fn check_shapes(fields: &[FieldSpec], shapes: &[&[usize]]) -> Result<(), MessageError> {
    let mut known = Lengths::new();
    let tensors = fields.iter().filter(|field| field.is_tensor());
    for (field, shape) in tensors.zip(shapes) {
        check_one(field, shape, &mut known)?;
    }
    Ok(())
}

/// For each name the length it stands for, and the tensor that said so. There are a few.
type Lengths<'a> = Vec<(&'a str, usize, &'a str)>;

fn check_one<'a>(
    field: &'a FieldSpec,
    given: &[usize],
    known: &mut Lengths<'a>,
) -> Result<(), MessageError> {
    let FieldKind::Tensor { shape, .. } = &field.kind else { return Ok(()) };
    let wrong = |reason| MessageError::WrongShape {
        name: field.name.clone(),
        given: given.into(),
        expected: field.shape_text(),
        reason,
    };
    if shape.is_empty() {
        return Ok(());
    }
    if shape.len() != given.len() {
        return Err(wrong(String::new()));
    }
    for (dimension, length) in shape.iter().zip(given) {
        match dimension {
            Dimension::Fixed(fixed) if fixed != length => return Err(wrong(String::new())),
            Dimension::Fixed(_) => {}
            Dimension::Named(name) => match known.iter().find(|(known, ..)| known == name) {
                None => known.push((name, *length, &field.name)),
                Some((_, expected, _)) if expected == length => {}
                Some((_, expected, source)) => {
                    return Err(wrong(format!(", and {name} is {expected} by `{source}`")));
                }
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustkernel_gpu::ElementType::{F32, U8};

    fn error(fields: &[FieldSpec], shapes: &[&[usize]]) -> String {
        check_shapes(fields, shapes).unwrap_err().to_string()
    }

    #[test]
    fn equal_names_are_equal_lengths() {
        let gemm =
            [FieldSpec::tensor("a", F32, &["m", "k"]), FieldSpec::tensor("b", F32, &["k", "n"])];
        assert_eq!(check_shapes(&gemm, &[&[2, 3], &[3, 4]]), Ok(()));
        let text = error(&gemm, &[&[2, 3], &[4, 5]]);
        assert_eq!(text, "`b` has the shape [4, 5]; it has to be [k, n], and k is 3 by `a`");
    }

    #[test]
    fn fixed_lengths_and_ranks_are_kept() {
        let picture = [FieldSpec::tensor("image", U8, &["height", "width", "3"])];
        assert_eq!(check_shapes(&picture, &[&[0, 7, 3]]), Ok(()));
        assert_eq!(
            error(&picture, &[&[1, 7, 4]]),
            "`image` has the shape [1, 7, 4]; it has to be [height, width, 3]"
        );
        assert_eq!(
            error(&picture, &[&[7, 3]]),
            "`image` has the shape [7, 3]; it has to be [height, width, 3]"
        );
        let any = [FieldSpec::tensor("x", F32, &[])];
        assert_eq!(check_shapes(&any, &[&[]]), Ok(()));
    }
}
