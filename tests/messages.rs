//! Typed messages as named tensors and parameters, and kernels called by name.

use rustkernel_core::kernel::AnyTensor;
use rustkernel_core::message::{
    Dimension, FieldKind, Fields, MessageError, Parameter, ParameterKind,
};
use rustkernel_core::prelude::*;
use rustkernel_gpu::ElementType;
use rustkernel_tests::builder;

/// What the sample kernel takes.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
struct Request {
    /// The factor of
    /// every pixel.
    ///
    /// (This paragraph is not shown.)
    #[kernel(default = 1.5)]
    factor: f32,
    #[kernel(name = "mode", default = "clamp")]
    how: String,
    times: u32,
    #[kernel(picture)]
    image: Tensor<u8>,
    #[kernel(shape = "channels, 2")]
    ranges: Tensor<f64>,
}

#[derive(Debug, Clone, PartialEq, KernelMessage)]
struct Response {
    #[kernel(shape = "height, width, channels")]
    image: Tensor<u8>,
    exact: bool,
}

fn request() -> Request {
    Request {
        factor: 2.0,
        how: "wrap".into(),
        times: 3,
        image: Tensor::zeros([2, 3, 4]),
        ranges: Tensor::zeros([4, 2]),
    }
}

#[test]
fn fields_are_described_in_their_order() {
    let fields = Request::fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["factor", "mode", "times", "image", "ranges"]);
    assert_eq!(fields[0].description, "The factor of every pixel.");
    let number = ParameterKind::Number(ElementType::F32);
    assert_eq!(
        fields[0].kind,
        FieldKind::Parameter { kind: number, default: Some(Parameter::Float(1.5)) }
    );
    let text = Some(Parameter::Text("clamp".into()));
    assert_eq!(fields[1].kind, FieldKind::Parameter { kind: ParameterKind::Text, default: text });
    let FieldKind::Tensor { shape, picture, .. } = &fields[3].kind else {
        panic!("image is a tensor")
    };
    assert_eq!(
        (shape.len(), *picture, fields[3].shape_text().as_str()),
        (3, true, "height, width, channels")
    );
    let FieldKind::Tensor { shape, .. } = &fields[4].kind else { panic!("ranges is a tensor") };
    assert_eq!(shape[..], [Dimension::Named("channels".into()), Dimension::Fixed(2)]);
}

#[test]
fn a_message_survives_the_way_through_its_fields() {
    assert_eq!(Request::from_fields(request().into_fields()), Ok(request()));
    let mut fields = request().into_fields();
    fields.parameters.remove("factor");
    fields.parameters.remove("mode");
    let with_defaults = Request::from_fields(fields.clone()).unwrap();
    assert_eq!((with_defaults.factor, with_defaults.how.as_str()), (1.5, "clamp"));
    fields.parameters.remove("times");
    let error = Request::from_fields(fields).unwrap_err();
    assert_eq!(error.to_string(), "`times` is missing; it is a UINT32 parameter");
}

#[test]
fn names_of_dimensions_hold_across_a_message() {
    request().check(&Request::fields()).unwrap();
    let wrong = Request { ranges: Tensor::zeros([3, 2]), ..request() };
    let error = wrong.check(&Request::fields()).unwrap_err().to_string();
    assert_eq!(
        error,
        "`ranges` has the shape [3, 2]; it has to be [channels, 2], and channels is 4 by `image`"
    );
}

struct Brighten;

impl Kernel for Brighten {
    type Request = Request;
    type Response = Response;

    async fn execute(&mut self, request: Request, _: &mut KernelContext) -> KernelResult<Response> {
        let Request { factor, mut image, .. } = request;
        let brighter = |pixel: u8| (f32::from(pixel) * factor).min(255.0) as u8;
        image.as_mut_slice().iter_mut().for_each(|pixel| *pixel = brighter(*pixel));
        Ok(Response { image, exact: false })
    }
}

#[tokio::test]
async fn a_published_kernel_is_called_by_name_and_its_requests_are_checked() {
    let spec = KernelSpec::new("brighten", || Brighten)
        .describe("Brightens a picture.")
        .version("2")
        .publish();
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();

    let signature = runtime.signatures().remove(0);
    assert_eq!((signature.name.as_str(), signature.version.as_str()), ("brighten", "2"));
    assert_eq!(signature.description, "Brightens a picture.");
    assert_eq!(
        (signature.inputs().count(), signature.parameters().count(), signature.outputs().count()),
        (2, 3, 1)
    );

    let image = Tensor::new([1, 2, 1], vec![100u8, 200]).unwrap();
    let fields = Fields::new()
        .with_tensor("image", image)
        .with_tensor("ranges", Tensor::<f64>::zeros([1, 2]))
        .with_parameter("factor", 2.0f32)
        .with_parameter("times", 1u32);
    let answer = runtime.call_by_name("brighten", fields.clone()).unwrap().await.unwrap();
    assert_eq!(
        answer.tensors["image"],
        AnyTensor::U8(Tensor::new([1, 2, 1], vec![200, 255]).unwrap())
    );
    assert_eq!(answer.parameters["exact"], Parameter::Bool(false));

    // Wrong fields come back as they were; nothing ran.
    let wrong = fields.clone().with_tensor("imag", Tensor::<u8>::zeros([1]));
    let error = runtime.call_by_name("brighten", wrong.clone()).unwrap().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid request: there is no tensor `imag`; did you mean `image`?"
    );
    assert_eq!(error.into_request(), Some(wrong));

    // A typed call is checked in the same way.
    let kernel = runtime.kernel::<Brighten>("brighten").unwrap();
    let wrong = Request { ranges: Tensor::zeros([9, 2]), ..request() };
    let error = kernel.call(wrong.clone()).await.unwrap_err();
    let invalid = |error: &_| {
        matches!(
            error,
            CallError::Rejected {
                rejection: Rejection::Invalid(MessageError::WrongShape { .. }),
                ..
            }
        )
    };
    assert!(invalid(&error), "{error}");
    assert_eq!(error.into_request(), Some(wrong));
    let report = runtime.shutdown().await.unwrap();
    assert_eq!((report.ledger.completed, report.ledger.rejected), (1, 2));
}
