//! Requests: what is read of them, and what is refused.

use proptest::prelude::*;
use rustkernel_core::kernel::Tensor;
use rustkernel_core::message::{FieldSpec, ParameterValue};

use super::*;

/// `saxpy` of two vectors, and a parameter whose name the protocol has another use for.
fn signature() -> Signature {
    let tensor = |name| FieldSpec::tensor(name, ElementType::F32, &["n"]);
    Signature {
        name: "saxpy".into(),
        version: "1".into(),
        description: String::new(),
        request: vec![
            tensor("x"),
            tensor("y"),
            FieldSpec::parameter("a", f32::KIND, None),
            FieldSpec::parameter("steps", u8::KIND, Some(Parameter::Int(1))),
        ],
        response: vec![tensor("output")],
    }
}

fn json(text: &str) -> Result<Inference, String> {
    read(&signature(), None, text.as_bytes()).map_err(|fault| fault.error)
}

fn floats(fields: &Fields, name: &str) -> Vec<f32> {
    let AnyTensor::F32(tensor) = &fields.tensors[name] else { panic!("`{name}` has floats") };
    tensor.as_slice().to_vec()
}

const X: &str = r#"{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}"#;

#[test]
fn what_a_client_writes_is_read() {
    let read = json(&format!(
        r#"{{"id":"7","inputs":[{X},{{"name":"y","shape":[2],"datatype":"FP32","data":[[3],[4.5]]}}],
            "parameters":{{"a":2,"steps":3,"timeout":1500,"priority":1}},
            "outputs":[{{"name":"output","parameters":{{"binary_data":true}}}}],"extra":[{{}}]}}"#
    ))
    .unwrap();
    assert_eq!(
        (floats(&read.fields, "x"), floats(&read.fields, "y")),
        (vec![1.0, 2.0], vec![3.0, 4.5])
    );
    assert_eq!(read.fields.parameters["a"], Parameter::Float(2.0));
    assert_eq!(read.fields.parameters["steps"], Parameter::Int(3));
    assert_eq!((read.id.as_deref(), read.timeout), (Some("7"), Some(Duration::from_micros(1500))));
    assert_eq!(read.priority, Some(Priority::High));
    assert_eq!(read.outputs.named, [("output".to_owned(), Some(true))]);
}

#[test]
fn extensions_that_are_not_here_are_refused_and_not_passed_over() {
    let output = |parameters: &str| {
        json(&format!(
            r#"{{"inputs":[{X}],"outputs":[{{"name":"output","parameters":{parameters}}}]}}"#
        ))
    };
    for (parameters, name) in [
        (r#"{"binary_data":true,"classification":3}"#, "classification"),
        (r#"{"shared_memory_region":"r","shared_memory_byte_size":8}"#, "shared_memory_region"),
    ] {
        let said = output(parameters).unwrap_err();
        let expected = format!("output `output`: `{name}` is of an extension");
        assert!(said.starts_with(&expected), "{said}");
    }
    assert!(output(r#"{"classification":null,"other":1}"#).is_ok());
    for data in ["", r#","data":[1,2]"#] {
        let said = json(&format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[2],
                "parameters":{{"shared_memory_region":"r"}}{data}}}]}}"#
        ));
        let said = said.unwrap_err();
        assert!(said.starts_with("input `x`: `shared_memory_region` is of an ext"), "{said}");
    }
}

/// Clients that write every member of a type write null for what is not there.
#[test]
fn null_is_as_if_it_were_not_there() {
    let read = json(
        r#"{"id":null,"parameters":null,"outputs":null,"inputs":[
            {"name":"x","datatype":"FP32","shape":[2],"parameters":null,"data":[1,2]}]}"#,
    );
    let read = read.unwrap();
    assert_eq!(floats(&read.fields, "x"), [1.0, 2.0]);
    assert_eq!((read.id, read.outputs.named), (None, vec![]));
    let read = json(r#"{"inputs":[],"outputs":[{"name":"output","parameters":null}]}"#).unwrap();
    assert_eq!(read.outputs.named, [("output".to_owned(), None)]);
}

#[test]
fn data_may_stand_before_its_type() {
    let read = json(
        r#"{"inputs":[{"data":[1,2],"name":"x","datatype":"FP32","shape":[2]},
                      {"data":[9],"shape":[1],"name":"y","datatype":"UINT8"}]}"#,
    )
    .unwrap();
    assert_eq!(floats(&read.fields, "x"), [1.0, 2.0]);
    assert_eq!(read.fields.tensors["y"], AnyTensor::from(Tensor::from(vec![9u8])));
}

#[test]
fn bytes_behind_the_json_are_tensors_in_their_order() {
    let header = r#"{"inputs":[
        {"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},
        {"name":"y","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}}],
        "parameters":{"binary_data_output":true}}"#;
    let mut body = header.as_bytes().to_vec();
    body.extend_from_slice(&1.5f32.to_le_bytes());
    body.extend_from_slice(&[1, 2, 3]);
    let inference = read(&signature(), Some(header.len()), &body).unwrap();
    assert_eq!(floats(&inference.fields, "x"), [1.5]);
    assert_eq!(inference.fields.tensors["y"], AnyTensor::from(Tensor::from(vec![1u8, 2, 3])));
    assert!(inference.outputs.binary);

    let error = |body: &[u8]| read(&signature(), Some(header.len()), body).unwrap_err().error;
    assert!(
        error(&body[..body.len() - 1]).contains("`binary_data_size` is 3, and 2 bytes are left")
    );
    body.push(0);
    assert!(error(&body).contains("1 bytes at the end of the body belong to no input"));
    let error = read(&signature(), Some(9), b"{}").unwrap_err().error;
    assert_eq!(error, "`inference-header-content-length` is 9, and the body has 2 bytes");
}

#[test]
fn a_body_that_is_one_tensor_needs_no_json() {
    let mut one = signature();
    one.request.truncate(1);
    let inference = read(&one, Some(0), &[0, 0, 128, 63]).unwrap();
    assert_eq!(floats(&inference.fields, "x"), [1.0]);
    assert!(read(&one, Some(0), &[0; 5]).unwrap_err().error.contains("`x`: 5 bytes"));
    let error = read(&signature(), Some(0), &[0; 4]).unwrap_err().error;
    assert_eq!(error, "a body without JSON is for kernels of one input, and `saxpy` has 2");
}

#[test]
fn what_is_wrong_is_said() {
    for (text, part) in [
        ("", "EOF"),
        ("[]", "expected an object with `inputs`"),
        ("{}", "missing field `inputs`"),
        (r#"{"inputs":[{}]}"#, "missing field `name`"),
        (r#"{"inputs":[{"name":"x"}]}"#, "missing field `shape`"),
        (r#"{"inputs":[{"name":"x","shape":[1]}]}"#, "missing field `datatype`"),
        (
            r#"{"inputs":[{"name":"x","shape":[-1],"datatype":"FP32"}]}"#,
            "integer `-1`, expected a whole number of at least 0",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1.5],"datatype":"FP32"}]}"#,
            "floating point `1.5`, expected a whole number of at least 0",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":7}]}"#,
            "integer `7`, expected an object at",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":[4]}]}"#,
            "sequence, expected an object at",
        ),
        (r#"{"inputs":[],"outputs":[["output"]]}"#, "sequence, expected an object at"),
        (
            r#"{"inputs":[],"outputs":[{"name":"output","parameters":[true]}]}"#,
            "sequence, expected an object at",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}}]}"#,
            "integer `-4`, expected a whole number of at least 0",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP16"}]}"#,
            "the datatype `FP16` is not one",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}"#,
            "neither `data` nor `binary_data_size`",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}}]}"#,
            "both `data` and `binary_data_size`",
        ),
        (&format!(r#"{{"inputs":[{X},{X}]}}"#), "input `x` is there twice"),
        (&format!(r#"{{"inputs":[{X}],"outputs":[{{"name":"z"}}]}}"#), "`saxpy` has no output `z`"),
        (
            &format!(r#"{{"inputs":[{X}],"outputs":[{{"name":"output"}},{{"name":"output"}}]}}"#),
            "asked for twice",
        ),
        (
            &format!(r#"{{"inputs":[{X}],"parameters":{{"a":"2"}}}}"#),
            "`a` is the text `2`; it has to be a FP32 parameter",
        ),
        (
            &format!(r#"{{"inputs":[{X}],"parameters":{{"priority":10.0}}}}"#),
            "`priority` is the number 10.0; it has to be a whole number, 1 the highest",
        ),
        (&format!(r#"{{"inputs":[{X}],"parameters":{{"timeout":-1}}}}"#), "microseconds"),
        (&format!(r#"{{"inputs":[{X}]}} x"#), "trailing characters"),
    ] {
        let error = json(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_shape_that_promises_much_takes_no_memory_for_it() {
    let error = json(
        r#"{"inputs":[{"name":"x","shape":[4000000000000000],"datatype":"FP32","data":[1]}]}"#,
    );
    assert!(error.unwrap_err().contains("1 elements do not make the shape"));
}

/// As values in memory they would take many times their text: a body of 60 MB took 2.2 GB.
#[test]
fn parameters_that_no_kernel_has_are_refused_while_they_are_read() {
    let many: Vec<_> = (0..257).map(|i| format!("\"p{i}\":0")).collect();
    let many = format!("{{{}}}", many.join(","));
    for (parameters, part) in [
        (r#"{"foo":[0,0]}"#, "invalid type: sequence, expected a number, a text, true or false"),
        (r#"{"foo":{"bar":0}}"#, "invalid type: map, expected a number, a text, true or false"),
        (many.as_str(), "more than 256 parameters"),
    ] {
        let error = json(&format!(r#"{{"parameters":{parameters},"inputs":[]}}"#)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let read = json(r#"{"parameters":{"a":1.5,"foo":"bar"},"inputs":[]}"#).unwrap();
    assert_eq!(read.fields.parameters["foo"], Parameter::Text("\"bar\"".into()));
}

#[test]
fn a_shape_has_no_more_dimensions_than_any_kernel() {
    let shape = |dimensions| {
        let shape = vec!["1"; dimensions].join(",");
        json(&format!(
            r#"{{"inputs":[{{"name":"x","shape":[{shape}],"datatype":"FP32","data":[1]}}]}}"#
        ))
    };
    assert!(shape(64).is_ok());
    assert!(shape(65).unwrap_err().contains("a shape of more than 64 dimensions"));
}

#[test]
fn an_answer_has_no_more_of_what_was_sent_than_tells_what_it_was() {
    let long = "y".repeat(1 << 20);
    for text in [
        format!(r#"{{"inputs":[],"parameters":{{"timeout":"{long}"}}}}"#),
        format!(r#"{{"inputs":[],"outputs":[{{"name":"{long}"}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"{long}","shape":[1],"datatype":"FP32"}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"{long}"}}]}}"#),
        format!(r#"{{"inputs":"{long}"}}"#),
    ] {
        let error = json(&text).unwrap_err();
        assert!(error.len() < 1_100 && error.contains("yyy … yyy"), "{error}");
    }
    let error = json(&format!(r#"{{"inputs":[],"parameters":{{"timeout":"{long}"}}}}"#));
    let error = error.unwrap_err();
    assert!(error.starts_with("`timeout` is the text `yyy"), "{error}");
    assert!(error.ends_with("yyy`; it has to be microseconds, a whole number"), "{error}");
}

/// Wherever something nested stands, or something else is expected, it is not followed until the stack is gone.
#[test]
fn what_is_nested_without_end_is_refused() {
    let nested = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
    for (before, after) in [
        ("", ""),
        (r#"{"extra":"#, r#","inputs":0}"#),
        (r#"{"parameters":{"a":"#, "}}"),
        (r#"{"id":"#, "}"),
        (r#"{"outputs":"#, "}"),
        (r#"{"inputs":"#, "}"),
        (r#"{"inputs":[{"name":"#, "}]}"),
        (r#"{"inputs":[{"extra":"#, "}]}"),
        (r#"{"inputs":[{"data":"#, "}]}"),
        (r#"{"inputs":[{"datatype":"FP32","shape":[1],"data":"#, "}]}"),
    ] {
        assert!(json(&format!("{before}{nested}{after}")).is_err(), "{before}");
        assert!(json(&format!("{before}{}", &nested[..1 << 20])).is_err(), "{before}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_answered(body in prop::collection::vec(any::<u8>(), 0..200), header in 0usize..220) {
        let _answered = read(&signature(), Some(header), &body);
        let _answered = read(&signature(), None, &body);
    }

    #[test]
    fn a_request_with_something_changed_is_answered(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let text = format!(r#"{{"inputs":[{X},{X}],"parameters":{{"a":2,"priority":1}},"outputs":[{{"name":"output"}}]}}"#);
        let mut body = text.into_bytes();
        let at = at % body.len();
        body[at] = byte;
        body.truncate(cut.max(1));
        let _answered = read(&signature(), None, &body);
    }

    #[test]
    fn floats_come_through_json_as_they_are(numbers in prop::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 0..50)) {
        let text = serde_json::to_string(&numbers).unwrap();
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{}],"data":{text}}}]}}"#, numbers.len());
        prop_assert_eq!(floats(&json(&body).unwrap().fields, "x"), numbers);
    }
}
