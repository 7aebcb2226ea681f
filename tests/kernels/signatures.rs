//! The kernels' public interface, as a table: a change that shows here breaks callers.

use rustkernel_core::message::{FieldKind, FieldSpec, Parameter, ParameterKind, Signature};
use rustkernel_gpu::ElementType;

const TABLE: &str = "\
black_scholes
    in  spot FP32 [n], strike FP32 [n], maturity FP32 [n]
    set rate FP32 = 0.05, volatility FP32 = 0.2, paths UINT32 = 65536, seed UINT64 = 0
    out call FP32 [n], put FP32 [n], call_error FP32 [n], put_error FP32 [n]
conv2d
    in  input FP32 [batch, in_channels, height, width], \
        weight FP32 [out_channels, in_channels, kernel_height, kernel_width]
    set stride UINT32 = 1, padding UINT32 = 0
    out output FP32 [batch, out_channels, out_height, out_width]
dot
    in  x FP32 [n], y FP32 [n]
    out output FP32 [1]
gaussian_blur
    in  image UINT8 picture [height, width, channels]
    set sigma FP32 = 1
    out output UINT8 picture [height, width, channels]
gemm
    in  a FP32 [m, k], b FP32 [k, n]
    out c FP32 [m, n]
histogram
    in  input FP32 [n]
    set bins UINT32 = 256, low FP32 = 0, high FP32 = 256
    out counts UINT64 [bins]
pagerank
    in  offsets INT32 [vertices_plus_one], targets INT32 [edges]
    set damping FP32 = 0.85, tolerance FP32 = 0.000001, iterations UINT32 = 100
    out ranks FP32 [vertices], iterations UINT32 [1]
reduce
    in  input FP32 [n]
    set op STRING = sum
    out output FP32 [1]
saxpy
    in  x FP32 [n], y FP32 [n]
    set a FP32
    out output FP32 [n]
scan
    in  input FP32 [n]
    out output FP32 [n]
sobel
    in  image UINT8 picture [height, width, channels]
    out output UINT8 picture [height, width, 1]
softmax
    in  input FP32 [rows, columns]
    out output FP32 [rows, columns]
vector_add
    in  a FP32 [n], b FP32 [n]
    out c FP32 [n]
";

fn signatures() -> Vec<Signature> {
    let published = |spec: Box<dyn rustkernel_core::kernel::AnySpec>| spec.signature();
    rustkernel_kernels::all().into_iter().map(published).collect::<Option<_>>().unwrap()
}

fn described(field: &FieldSpec) -> String {
    let name = &field.name;
    match &field.kind {
        FieldKind::Tensor { element, picture, .. } => {
            let picture = if *picture { "picture " } else { "" };
            format!("{name} {element} {picture}[{}]", field.shape_text())
        }
        FieldKind::Parameter { kind, default: None } => format!("{name} {kind}"),
        FieldKind::Parameter { kind, default: Some(default) } => {
            // Shown as it is written: 0.2, not the nearest `f32` to it.
            let default = match (kind, default) {
                (ParameterKind::Number(ElementType::F32), Parameter::Float(value)) => {
                    (*value as f32).to_string()
                }
                _ => default.to_string(),
            };
            format!("{name} {kind} = {default}")
        }
    }
}

fn line<'a>(title: &str, fields: impl Iterator<Item = &'a FieldSpec>) -> String {
    let fields: Vec<String> = fields.map(described).collect();
    if fields.is_empty() { String::new() } else { format!("    {title} {}\n", fields.join(", ")) }
}

#[test]
fn the_interface_is_this() {
    let mut table = String::new();
    for signature in signatures() {
        assert!(signature.response.iter().all(FieldSpec::is_tensor), "{}", signature.name);
        table += &format!("{}\n", signature.name);
        table += &line("in ", signature.inputs());
        table += &line("set", signature.parameters());
        table += &line("out", signature.outputs());
    }
    assert_eq!(table, TABLE);
}

#[test]
fn every_kernel_and_field_is_described_in_a_sentence() {
    for Signature { name, description, request, response, .. } in signatures() {
        assert!(description.ends_with('.'), "{name}: {description}");
        for FieldSpec { name: field, description, .. } in request.iter().chain(&response) {
            assert!(description.ends_with('.'), "{name}.{field}: {description}");
        }
    }
}

#[test]
fn a_kernel_is_found_by_its_name() {
    for signature in signatures() {
        let found = rustkernel_kernels::find(&signature.name).and_then(|spec| spec.signature());
        assert_eq!(found, Some(signature));
    }
    assert!(rustkernel_kernels::find("convolution").is_none());
}
