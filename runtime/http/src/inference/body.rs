//! Bodies, as they come: within a size and a time. One that is packed is held to the size both ways.
//!
//! A body that comes in one chunk is read as it lies there. Of one that comes in many, the front is collected until its
//! JSON is there; the bytes of its tensors are copied from each chunk to where they stay. A body that is only JSON, is
//! packed, or does not say its length is collected as a whole.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::web::{self, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::headers::only;
use super::held::{Held, Room};
use super::packing::Packing;
use super::request::{Begun, Inference};
use super::{Fault, Reason};

/// The most bytes, and how long they may take to come.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    /// For all bodies together.
    pub(crate) room: Arc<Room>,
    pub(crate) patience: Duration,
    /// The most bytes of an answer.
    pub(crate) answer: u64,
}

/// As many bytes may come of one that is packed: see zlib's own technical details.
const DENSEST: usize = 1032;
/// Who waits longer waits for ever; an instant that late there is.
const LONGEST: Duration = Duration::from_secs(1 << 32);

/// Reads a body to its end, whatever is wrong with it. `header` is the length of its JSON, where bytes follow;
/// `begin` reads the front of it, with all of the JSON, and is told how long all of it is. What comes beside it is to be
/// kept until the request is answered.
///
/// # Errors
/// If it is too large, packed or not; too slow; packed in a way that is not known; or ends early. Else if it is not
/// what it has to be.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    limits: &BodyLimits,
    header: Option<usize>,
    begin: impl AsyncFnOnce(Bytes, usize) -> Result<Begun, Fault>,
) -> Result<(Inference, Held), Fault> {
    let (packing, mut incoming) = Incoming::of(request, payload, limits)?;
    let json = header.filter(|_| packing.is_none());
    let front = incoming.in_time(async |incoming| incoming.collect(json).await).await?;
    if let Some(length) = incoming.goes_on(json, front.len()) {
        let since = Instant::now();
        let mut begun = begin(front, length).await;
        // (What that took is not the sender's time.)
        incoming.deadline += since.elapsed();
        incoming.in_time(async |incoming| incoming.pass(&mut begun).await).await?;
        return Ok((begun?.finish()?, incoming.held));
    }
    let mut held = incoming.held;
    let whole = unpack(packing, front, limits, &mut held).await?;
    let length = whole.len();
    Ok((begin(whole, length).await?.finish()?, held))
}

/// Reads a body that has no tensors in it.
///
/// # Errors
/// If it is too large, packed or not; too slow; packed in a way that is not known; or ends early.
pub(crate) async fn whole(
    request: &HttpRequest,
    payload: &mut Payload,
    limits: &BodyLimits,
) -> Result<(Bytes, Held), Fault> {
    let (packing, mut incoming) = Incoming::of(request, payload, limits)?;
    let all = incoming.in_time(async |incoming| incoming.collect(None).await).await?;
    let mut held = incoming.held;
    Ok((unpack(packing, all, limits, &mut held).await?, held))
}

/// Unpacks a body, if it is packed, where that keeps nobody waiting.
async fn unpack(
    packing: Option<Packing>,
    packed: Bytes,
    limits: &BodyLimits,
    held: &mut Held,
) -> Result<Bytes, Fault> {
    let Some(packing) = packing else { return Ok(packed) };
    let most = limits.bytes;
    held.set(&limits.room, packed.len().saturating_mul(DENSEST).min(most))?;
    let unpacked = web::block(move || packing.unpack(&packed, most)).await;
    let unpacked = unpacked.map_err(|error| Fault::new(Reason::Failed, error.to_string()))??;
    let unpacked = unpacked.map(Bytes::from).ok_or_else(|| too_large(most))?;
    held.set(&limits.room, unpacked.len())?;
    Ok(unpacked)
}

/// What can be refused before the body is read; how it is packed, and how long it is to be.
fn check(
    request: &HttpRequest,
    limits: &BodyLimits,
) -> Result<(Option<Packing>, Option<usize>), Fault> {
    let headers = request.headers();
    let packing = only(headers, &CONTENT_ENCODING)?.map_or(Ok(None), Packing::of)?;
    let announced: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match announced.map(usize::try_from) {
        Some(Ok(length)) if length <= limits.bytes => Ok((packing, Some(length))),
        Some(_) => Err(too_large(limits.bytes)),
        None => Ok((packing, None)),
    }
}

/// A body on its way.
struct Incoming<'p> {
    payload: &'p mut Payload,
    limits: &'p BodyLimits,
    held: Held,
    /// How long it is to be, if that was said.
    announced: Option<usize>,
    /// So much of it has come.
    read: usize,
    deadline: Instant,
}

impl<'p> Incoming<'p> {
    /// The body of a request, and how it is packed.
    fn of(
        request: &HttpRequest,
        payload: &'p mut Payload,
        limits: &'p BodyLimits,
    ) -> Result<(Option<Packing>, Self), Fault> {
        let (packing, announced) = check(request, limits)?;
        let deadline = Instant::now() + limits.patience.min(LONGEST);
        Ok((packing, Self { payload, limits, held: Held::none(), announced, read: 0, deadline }))
    }

    async fn in_time<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let done = timeout_at(self.deadline, work(self)).await;
        done.unwrap_or_else(|_elapsed| {
            let patience = humantime::format_duration(self.limits.patience);
            let error = format!("the body did not come within {patience}");
            Err(Fault::new(Reason::TooSlow, error))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(chunk) = self.payload.next().await else { return Ok(None) };
        let chunk = chunk.map_err(|error| Fault::invalid(format!("the body: {error}")))?;
        self.read += chunk.len();
        if self.read > self.limits.bytes {
            return Err(too_large(self.limits.bytes));
        }
        self.held.set(&self.limits.room, self.read)?;
        Ok(Some(chunk))
    }

    /// Whether, with so much of it, all of its JSON is there, but not all of the bytes behind: then, how long it is
    /// to be.
    fn goes_on(&self, json: Option<usize>, have: usize) -> Option<usize> {
        let (json, length) = (json?, self.announced?);
        (json..length).contains(&have).then_some(length)
    }

    /// All of it, or as much as there is once it has its JSON.
    async fn collect(&mut self, json: Option<usize>) -> Result<Bytes, Fault> {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            // (A body that comes in one piece is not copied.)
            if first.is_empty() && all.is_empty() {
                first = chunk;
            } else {
                if all.is_empty() {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&chunk);
            }
            if self.goes_on(json, self.read).is_some() {
                break;
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }

    /// Passes on what else comes, as long as there is who takes it.
    async fn pass(&mut self, begun: &mut Result<Begun, Fault>) -> Result<(), Fault> {
        while let Some(chunk) = self.next().await? {
            if let Ok(begun) = begun {
                begun.take(&chunk);
            }
        }
        match self.announced {
            Some(length) if length != self.read => Err(Fault::invalid(format!(
                "the body has {} bytes, and was to have {length}",
                self.read
            ))),
            _ => Ok(()),
        }
    }
}

fn too_large(most: usize) -> Fault {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    Fault::new(
        Reason::TooLarge,
        format!("the body has more than {most} bytes (http.max_body_bytes)"),
    )
}

#[cfg(test)]
mod tests {
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use futures_util::{FutureExt, stream};
    use proptest::prelude::*;
    use rustkernel_core::gpu::ElementType;
    use rustkernel_core::kernel::AnyTensor;
    use rustkernel_core::message::{FieldSpec, Signature};
    use serde_json::{Value, json};

    use super::*;
    use crate::inference::{request, tensor};

    const PATIENCE: Duration = Duration::from_secs(1);

    fn limits() -> BodyLimits {
        BodyLimits { bytes: 4096, room: Room::new(4096), patience: PATIENCE, answer: 4096 }
    }

    const TYPES: [ElementType; 3] = [ElementType::U8, ElementType::F32, ElementType::U64];

    fn signature(inputs: usize) -> Signature {
        let input = |at: usize| FieldSpec::tensor(&format!("x{at}"), TYPES[at % 3], &["n"]);
        Signature {
            name: "any".into(),
            version: "1".into(),
            description: String::new(),
            request: (0..inputs).map(input).collect(),
            response: vec![FieldSpec::tensor("output", ElementType::F32, &["n"])],
        }
    }

    /// What is sent: a body, how long it is said to be, and where its JSON is said to end.
    #[derive(Debug, Clone)]
    struct Sent {
        inputs: usize,
        body: Vec<u8>,
        announced: Option<usize>,
        header: Option<usize>,
    }

    type Tensors = Vec<(String, ElementType, Vec<usize>, Vec<u8>)>;

    /// All that was read, so that it can be compared. (What is no number is not equal to itself.)
    fn told(inference: Inference) -> (String, Tensors) {
        let Inference { id, fields, outputs, timeout, priority } = inference;
        let of = |(name, tensor): (String, AnyTensor)| {
            let bytes = tensor::bytes(&tensor).to_vec();
            (name, tensor.element_type(), tensor.shape().to_vec(), bytes)
        };
        let other = format!("{id:?} {:?} {outputs:?} {timeout:?} {priority:?}", fields.parameters);
        (other, fields.tensors.into_iter().map(of).collect())
    }

    impl Sent {
        fn whole(&self) -> Result<(String, Tensors), Fault> {
            request::read(&signature(self.inputs), self.header, &self.body).map(told)
        }

        /// Reads it in chunks of those lengths, over and over, and then that `end`.
        async fn cut(
            &self,
            lengths: &[usize],
            end: Option<PayloadError>,
        ) -> Result<(String, Tensors), Fault> {
            let (mut chunks, mut rest) = (Vec::new(), &self.body[..]);
            for length in lengths.iter().cycle() {
                let (chunk, others) = rest.split_at(rest.len().min(*length));
                chunks.push(Ok(Bytes::copy_from_slice(chunk)));
                rest = others;
                if rest.is_empty() {
                    break;
                }
            }
            chunks.extend(end.map(Err));
            let mut request = TestRequest::default();
            if let Some(announced) = self.announced {
                request = request.insert_header((CONTENT_LENGTH, announced));
            }
            let signature = signature(self.inputs);
            let begin =
                async |body: Bytes, length| request::begin(&signature, self.header, &body, length);
            let mut payload = Payload::from(stream::iter(chunks).boxed_local());
            let request = request.to_http_request();
            let read = read(&request, &mut payload, &limits(), self.header, begin).await;
            read.map(|(inference, _)| told(inference))
        }
    }

    fn now<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    }

    /// Inputs, some in bytes, whose sizes and names are mostly right; with more or fewer bytes than they need.
    fn sent() -> impl Strategy<Value = Sent> {
        let nearly = |right: i32| prop_oneof![20 => Just(0), 1 => -right..=right];
        let input = (0usize..40, prop::bool::weighted(0.8), nearly(9), nearly(1));
        let inputs = prop::collection::vec(input, 0..5);
        let byte = prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()));
        let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
        (inputs, nearly(20), nearly(99), byte, flags, any::<u64>()).prop_map(
            |(inputs, more, shift, byte, (announce, raw, no_header), seed)| {
                let mut bytes = 0usize;
                let of = |(at, (length, binary, off, name)): (usize, &(usize, bool, i32, i32))| {
                    let mut input = json!({
                        "name": format!("x{}", at.saturating_add_signed(*name as isize)),
                        "datatype": TYPES[at % 3].name(),
                        "shape": [length],
                    });
                    if *binary {
                        let size = length * TYPES[at % 3].size();
                        bytes += size;
                        let size = size.saturating_add_signed(*off as isize);
                        input["parameters"] = json!({ "binary_data_size": size });
                    } else {
                        input["data"] = json!(vec![7; *length]);
                    }
                    input
                };
                let all: Vec<Value> = inputs.iter().enumerate().map(of).collect();
                let mut body = json!({ "id": "7", "inputs": all }).to_string().into_bytes();
                let json = body.len();
                let mut random = seed;
                body.extend((0..bytes.saturating_add_signed(more as isize)).map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    random.to_le_bytes()[7]
                }));
                if let Some((at, byte)) = byte {
                    let at = at.index(body.len());
                    body[at] = byte;
                }
                let header = json.saturating_add_signed(shift as isize);
                Sent {
                    inputs: if raw { 1 } else { inputs.len() },
                    announced: announce.then_some(body.len()),
                    header: (!no_header).then_some(if raw { 0 } else { header }),
                    body,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_body_is_read_the_same_however_it_is_cut(sent in sent(), lengths in prop::collection::vec(1usize..200, 1..6)) {
            prop_assert_eq!(now(sent.cut(&lengths, None)), sent.whole());
        }

        #[test]
        fn a_body_that_ends_early_is_told_so_whatever_is_wrong_with_it(sent in sent(), lengths in prop::collection::vec(1usize..200, 1..6), at in any::<prop::sample::Index>()) {
            let mut sent = Sent { announced: Some(sent.body.len()), ..sent };
            sent.body.truncate(at.index(sent.body.len()));
            let fault = now(sent.cut(&lengths, Some(PayloadError::Incomplete(None)))).unwrap_err();
            prop_assert!(fault.error.starts_with("the body: payload reached EOF"), "{}", fault);
        }
    }

    /// One tensor of so many bytes.
    fn raw(size: usize) -> Sent {
        Sent { inputs: 1, body: vec![1; size], announced: Some(size), header: Some(0) }
    }

    #[test]
    fn a_body_is_held_to_the_limit_and_to_its_own_word() {
        let error = |sent: Sent, lengths: &[usize]| now(sent.cut(lengths, None)).unwrap_err();
        for announced in [Some(4097), None] {
            let fault = error(Sent { announced, ..raw(4097) }, &[1000]);
            assert_eq!(fault.reason, Reason::TooLarge, "{fault}");
        }
        let longer = error(Sent { announced: Some(99), ..raw(100) }, &[50]);
        assert_eq!(longer.error, "the body has 100 bytes, and was to have 99");
        let shorter = error(Sent { announced: Some(101), ..raw(100) }, &[100]);
        assert_eq!(shorter.error, "the body has 100 bytes, and was to have 101");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_senders_time_that_is_counted() {
        let request = TestRequest::default().insert_header((CONTENT_LENGTH, 2)).to_http_request();
        let signature = signature(1);
        let read = async |pause: Duration| {
            let later = async move {
                tokio::time::sleep(pause).await;
                Ok(Bytes::from_static(b"b"))
            };
            let first = stream::iter([Ok(Bytes::from_static(b"a"))]);
            let mut payload = Payload::from(first.chain(later.into_stream()).boxed_local());
            let begin = async |body: Bytes, length| {
                tokio::time::sleep(PATIENCE * 2).await;
                request::begin(&signature, Some(0), &body, length)
            };
            super::read(&request, &mut payload, &limits(), Some(0), begin).await
        };
        let AnyTensor::U8(tensor) = &read(PATIENCE / 2).await.unwrap().0.fields.tensors["x0"]
        else {
            unreachable!("its type was asked for")
        };
        assert_eq!(tensor.as_slice(), b"ab");
        let slow = read(PATIENCE * 2).await.unwrap_err();
        assert_eq!(
            (slow.reason, &*slow.error),
            (Reason::TooSlow, "the body did not come within 1s")
        );
    }
}
