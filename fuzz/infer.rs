//! Bodies of inference requests, in JSON and in bytes.

use std::sync::LazyLock;

use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::{AnyTensor, with_tensor};
use rustkernel_core::message::{FieldSpec, Fields, ParameterKind, Signature};
use rustkernel_http::fuzzing;

/// Takes what a kernel can take: a tensor of each type, and parameters of each kind.
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| {
    let tensor = |element: ElementType| FieldSpec::tensor(element.name(), element, &["n"]);
    let parameter = |name, kind| FieldSpec::parameter(name, kind, None);
    Signature {
        name: "any".into(),
        version: "1".into(),
        description: String::new(),
        request: ElementType::ALL
            .into_iter()
            .map(tensor)
            .chain([
                parameter("bool", ParameterKind::Bool),
                parameter("text", ParameterKind::Text),
                parameter("float", ParameterKind::Number(ElementType::F64)),
                parameter("int", ParameterKind::Number(ElementType::I64)),
            ])
            .collect(),
        response: vec![FieldSpec::tensor("output", ElementType::F32, &["n"])],
    }
});

/// The same of a kernel that takes a body without JSON: one tensor, one dimension.
static ONE: LazyLock<Signature> = LazyLock::new(|| Signature {
    request: vec![FieldSpec::tensor("input", ElementType::F32, &["n"])],
    ..SIGNATURE.clone()
});

/// Two bytes for where the JSON ends (the largest: it is not said), and a body.
pub fn infer(bytes: &[u8]) {
    let Some((length, body)) = bytes.split_first_chunk() else { return };
    let header = match u16::from_le_bytes(*length) {
        u16::MAX => None,
        length => Some(usize::from(length)),
    };
    let read = fuzzing::infer(&SIGNATURE, header, body);
    for signature in [&*SIGNATURE, &*ONE] {
        let read = fuzzing::infer(signature, header, body);
        holds(&read);
        // In whatever chunks it comes, the same is read.
        for length in [1, 3, 64] {
            let cut = fuzzing::infer_in_chunks(signature, header, body, length);
            assert_eq!(told(&read), told(&cut), "in chunks of {length} bytes");
        }
    }
    // Where nothing follows the JSON, it is the same whether that is said. (0 says that there is no JSON.)
    if header.is_none() && !body.is_empty() {
        // (By what they print, because what is no number is not equal to itself.)
        let said = fuzzing::infer(&SIGNATURE, Some(body.len()), body);
        assert_eq!(format!("{read:?}"), format!("{said:?}"));
    }
}

/// All that was read, so that it can be compared.
fn told(read: &Result<Fields, String>) -> Result<Vec<String>, &String> {
    let fields = read.as_ref()?;
    let of = |(name, tensor): (&String, &AnyTensor)| {
        let elements = with_tensor!(tensor, tensor => format!("{:?}", tensor.as_slice()));
        format!("{name}: {} {:?} {elements}", tensor.element_type(), tensor.shape())
    };
    let parameters = fields.parameters.iter().map(|parameter| format!("{parameter:?}"));
    Ok(fields.tensors.iter().map(of).chain(parameters).collect())
}

/// What is read has as many elements as its shape says; what is refused has a reason.
fn holds(read: &Result<Fields, String>) {
    match read {
        Ok(fields) => {
            for tensor in fields.tensors.values() {
                let size = tensor.element_type().size() as u64;
                let elements: u64 = tensor.shape().iter().map(|length| *length as u64).product();
                assert_eq!(tensor.bytes(), elements * size);
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
}
