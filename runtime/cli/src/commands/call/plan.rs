//! What a command line means for a kernel: which file is which field, checked before anything runs.

use std::collections::BTreeMap;
use std::path::Path;

use rustkernel_core::gpu::ElementType;
use rustkernel_core::kernel::AnyTensor;
use rustkernel_core::message::{
    FieldKind, FieldSpec, Fields, MessageError, Parameter, ParameterKind, ParameterValue,
    Signature, check_shapes,
};

use crate::args::{CallArgs, NamedFile, NamedText};
use crate::catalogue::did_you_mean;
use crate::exit::Failure;
use crate::files::{Input, Staged, Target};

/// A command line that makes sense for its kernel.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    signature: &'a Signature,
    inputs: Vec<(&'a FieldSpec, &'a Path)>,
    parameters: BTreeMap<String, Parameter>,
    targets: Vec<Target<'a>>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// For the first name that there is not, is given twice or is missing; the first value of the
    /// wrong type; the first output that could not be written.
    pub(super) fn new(args: &'a CallArgs, signature: &'a Signature) -> Result<Self, Failure> {
        let asked = Asked { signature };
        let inputs = asked.pair("input", &args.inputs, signature.inputs().collect())?;
        let parameters =
            asked.pair("parameter", &args.parameters, signature.parameters().collect())?;
        let outputs = asked.pair("output", &args.outputs, signature.outputs().collect())?;
        let inputs = asked.all_there("input", signature.inputs(), &inputs)?;
        asked.all_there("parameter", signature.parameters().filter(is_required), &parameters)?;
        let values = parameters.into_iter().map(|(field, given)| {
            let value = parse(field, &given.text)?;
            Ok((field.name.clone(), value))
        });
        let targets = outputs
            .into_iter()
            .map(|(field, given)| Target::new(field, &given.path))
            .collect::<Result<Vec<_>, _>>()?;
        check_distinct(&targets)?;
        Ok(Self {
            signature,
            inputs: inputs
                .into_iter()
                .map(|(field, given)| (field, given.path.as_path()))
                .collect(),
            parameters: values.collect::<Result<_, Failure>>()?,
            targets,
        })
    }

    /// Reads the inputs: every header first, then the shapes against each other, then the data.
    ///
    /// # Errors
    /// For the first file that cannot be read, is not sound or does not fit.
    pub(super) fn read(&self) -> Result<Fields, Failure> {
        let open = |(field, path): &(&'a FieldSpec, &'a Path)| Input::open(field, path);
        let inputs = self.inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let shapes: Vec<&[usize]> = inputs.iter().map(Input::shape).collect();
        check_shapes(&self.signature.request, &shapes).map_err(|error| self.wrong_shape(&error))?;
        let read = |input: Input<'_>| Ok((input.name().to_owned(), input.read()?));
        let tensors = inputs.into_iter().map(read).collect::<Result<_, Failure>>()?;
        let mut fields = Fields::new();
        fields.tensors = tensors;
        fields.parameters.clone_from(&self.parameters);
        Ok(fields)
    }

    fn wrong_shape(&self, error: &MessageError) -> Failure {
        let MessageError::WrongShape { name, given, expected, reason } = error else {
            return Failure::data(error.to_string());
        };
        let file = self.inputs.iter().find(|(field, _)| field.name == *name);
        let path = file.map(|(_, path)| path.display().to_string()).unwrap_or_default();
        let must = format!("has the shape {given:?}; it has to be [{expected}]{reason}");
        Failure::data(format!("input `{name}`: {path} {must}"))
    }

    /// Where an output is written, if it is.
    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        self.targets.iter().find(|target| target.name() == name).map(Target::path)
    }

    /// Whether nothing is to be written, so that results are to be printed.
    pub(super) fn writes_nothing(&self) -> bool {
        self.targets.is_empty()
    }

    /// Writes every output beside its place, and once all are written puts them there.
    ///
    /// # Errors
    /// For the first that cannot be written.
    pub(super) fn write(&self, fields: &Fields) -> Result<(), Failure> {
        let staged = self.targets.iter().map(|target| target.stage(output(fields, target.name())));
        let staged = staged.collect::<Result<Vec<_>, _>>()?;
        staged.into_iter().try_for_each(Staged::commit)
    }
}

/// An output that the kernel's signature promises.
fn output<'a>(fields: &'a Fields, name: &str) -> &'a AnyTensor {
    fields.tensors.get(name).expect("invariant: an answer has the fields of its signature")
}

/// Something that was given for a name.
trait Given {
    fn name(&self) -> &str;
}

impl Given for NamedFile {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Given for NamedText {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Finds what names stand for.
struct Asked<'a> {
    signature: &'a Signature,
}

impl<'a> Asked<'a> {
    /// Whatever was given, beside its field.
    fn pair<'g, G: Given>(
        &self,
        what: &str,
        given: &'g [G],
        fields: Vec<&'a FieldSpec>,
    ) -> Result<Vec<(&'a FieldSpec, &'g G)>, Failure> {
        let mut pairs: Vec<(&FieldSpec, &G)> = Vec::new();
        for given in given {
            let field = fields.iter().find(|field| field.name == given.name());
            let field = field.ok_or_else(|| self.unknown(what, given.name(), &fields))?;
            if pairs.iter().any(|(other, _)| other.name == field.name) {
                return Err(Failure::usage(format!("{what} `{}` is given twice", field.name)));
            }
            pairs.push((field, given));
        }
        Ok(pairs)
    }

    /// The pairs in the order of their fields, if there is one for each.
    fn all_there<'g, G>(
        &self,
        what: &str,
        fields: impl Iterator<Item = &'a FieldSpec>,
        pairs: &[(&'a FieldSpec, &'g G)],
    ) -> Result<Vec<(&'a FieldSpec, &'g G)>, Failure> {
        let find = |field: &FieldSpec| pairs.iter().find(|(other, _)| other.name == field.name);
        fields.map(|field| find(field).copied().ok_or_else(|| self.missing(what, field))).collect()
    }

    fn unknown(&self, what: &str, name: &str, fields: &[&FieldSpec]) -> Failure {
        let kernel = &self.signature.name;
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let meant = did_you_mean(name, names.iter().copied());
        let failure = Failure::usage(format!("kernel `{kernel}` has no {what} `{name}`{meant}"));
        let elsewhere = self.signature.request.iter().chain(&self.signature.response);
        let hint = match (elsewhere.clone().find(|field| field.name == name), names.as_slice()) {
            (Some(field), _) => format!("`{name}` is {field}: write {}", self.how_to_give(field)),
            (None, []) => format!("it has no {what}s at all"),
            (None, [only]) => format!("its only {what} is `{only}`"),
            (None, several) => format!("its {what}s are `{}`", several.join("`, `")),
        };
        failure.hint(hint)
    }

    fn missing(&self, what: &str, field: &FieldSpec) -> Failure {
        let kernel = &self.signature.name;
        let message =
            format!("{what} `{}` of kernel `{kernel}` is missing; it is {field}", field.name);
        Failure::usage(message).hint(format!("add {}", self.how_to_give(field)))
    }

    fn how_to_give(&self, field: &FieldSpec) -> String {
        let name = &field.name;
        match () {
            () if !field.is_tensor() => format!("`--param {name}=VALUE`"),
            () if self.signature.inputs().any(|input| input.name == *name) => {
                format!("`--input {name}=FILE`")
            }
            () => format!("`--output {name}=FILE`"),
        }
    }
}

fn is_required(field: &&FieldSpec) -> bool {
    matches!(field.kind, FieldKind::Parameter { default: None, .. })
}

/// Two outputs in one file would leave only one of them.
fn check_distinct(targets: &[Target<'_>]) -> Result<(), Failure> {
    for (at, target) in targets.iter().enumerate() {
        if let Some(other) = targets[..at].iter().find(|other| other.is_where(target)) {
            let (other, name, path) = (other.name(), target.name(), target.path().display());
            return Err(Failure::usage(format!(
                "outputs `{other}` and `{name}` would both go to {path}"
            )));
        }
    }
    Ok(())
}

/// Reads a parameter's value.
fn parse(field: &FieldSpec, text: &str) -> Result<Parameter, Failure> {
    let FieldKind::Parameter { kind, .. } = field.kind else {
        unreachable!("invariant: only parameters are read from texts")
    };
    let name = &field.name;
    let value = Parameter::parse(text, kind).map_err(|_| {
        Failure::usage(format!("parameter `{name}`: `{text}` is not {}", describe(kind)))
    })?;
    match out_of_range(&value, kind, text) {
        None => Ok(value),
        Some(range) => Err(Failure::usage(format!(
            "parameter `{name}`: {text} is out of range; a {kind} is {range}"
        ))),
    }
}

fn describe(kind: ParameterKind) -> String {
    match kind {
        ParameterKind::Bool => "true or false".into(),
        ParameterKind::Number(ElementType::F32 | ElementType::F64) => "a number".into(),
        ParameterKind::Number(_) => "a whole number".into(),
        kind => format!("a {kind}"),
    }
}

/// The range of the type, if the value is not within it.
fn out_of_range(value: &Parameter, kind: ParameterKind, text: &str) -> Option<String> {
    macro_rules! whole {
        ($kind:ident) => {
            <$kind>::from_parameter(value)
                .is_none()
                .then(|| format!("{} to {}", $kind::MIN, $kind::MAX))
        };
    }
    macro_rules! real {
        ($kind:ident) => {{
            // Infinity is a value for whoever writes `inf`, not for whoever writes too many digits.
            let infinite = <$kind>::from_parameter(value).is_some_and(|value| value.is_infinite());
            let rounded = infinite && text.contains(|character: char| character.is_ascii_digit());
            rounded.then(|| format!("{:e} to {:e}", $kind::MIN, $kind::MAX))
        }};
    }
    match kind {
        ParameterKind::Number(ElementType::U8) => whole!(u8),
        ParameterKind::Number(ElementType::U16) => whole!(u16),
        ParameterKind::Number(ElementType::U32) => whole!(u32),
        ParameterKind::Number(ElementType::U64) => whole!(u64),
        ParameterKind::Number(ElementType::I8) => whole!(i8),
        ParameterKind::Number(ElementType::I16) => whole!(i16),
        ParameterKind::Number(ElementType::I32) => whole!(i32),
        ParameterKind::Number(ElementType::I64) => whole!(i64),
        ParameterKind::Number(ElementType::F32) => real!(f32),
        ParameterKind::Number(ElementType::F64) => real!(f64),
        _ => None,
    }
}
