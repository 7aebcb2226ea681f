//! What a pair of allocation and free costs, in nanoseconds.
//!
//! The same steps go to the policy and to one that does nothing, and the difference is the policy's.
//! Each thread's figure is the median of a few passes after one that warms up (all passes but the
//! first find their memory mapped). With two threads, each stream belongs to one of them; of a
//! trace with one stream each thread replays the whole on a stream of its own. The figure is what a
//! pair takes on its thread: two threads that do not disturb each other have the figure of one.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use super::error::ReplayError;
use super::policy::{Policy, Setup, Worker};
use crate::trace::{Op, Step, Trace};

const PASSES: usize = 7;

/// A pass plays a short trace several times, so that it takes long enough to be timed.
const STEPS_IN_A_PASS: usize = 100_000;

/// One thread's steps, with what frees the blocks that the trace leaves.
struct Part {
    steps: Vec<Step>,
    /// How much later a repetition is.
    period: f64,
}

/// Nanoseconds for a pair on one thread, and on each of two.
///
/// # Errors
/// If the policy cannot be set up or has no room.
pub fn ns_per_pair<P: Policy>(trace: &Trace, setup: &Setup) -> Result<[f64; 2], ReplayError> {
    let whole = [whole(trace)];
    let one = timed::<P>(setup, &whole)?;
    let (ids, streams) = (setup.ids * 2, setup.streams.max(2));
    let two = timed::<P>(&Setup { ids, streams, ..*setup }, &halves(trace, &whole[0]))?;
    Ok([one, two])
}

fn whole(trace: &Trace) -> Part {
    let steps: Vec<Step> = trace.steps.iter().copied().chain(trace.leftovers()).collect();
    let [first, last] = [steps.first(), steps.last()].map(|step| step.map_or(0.0, |it| it.t_us));
    Part { steps, period: last - first + 1000.0 }
}

fn halves(trace: &Trace, whole: &Part) -> [Part; 2] {
    let part = |steps| Part { steps, period: whole.period };
    if trace.streams == 1 {
        let ids = trace.ids as u32;
        let other = |step: &Step| Step { id: step.id + ids, stream: 1, ..*step };
        return [part(whole.steps.clone()), part(whole.steps.iter().map(other).collect())];
    }
    let thread_of = shared_out(trace);
    let mut stream_of = vec![0; trace.ids];
    let mut steps = [Vec::new(), Vec::new()];
    for step in &whole.steps {
        let (mut step, stream) = (*step, &mut stream_of[step.id as usize]);
        if step.op == Op::Allocate {
            *stream = step.stream;
        }
        let thread = thread_of[*stream as usize];
        // A block stays with the thread that allocated it: also if another thread's stream frees it.
        if thread_of[step.stream as usize] != thread {
            step.stream = *stream;
        }
        steps[thread].push(step);
    }
    steps.map(part)
}

/// The thread of each stream: the busiest first, each to the thread that has less to do.
fn shared_out(trace: &Trace) -> Vec<usize> {
    let mut rows: Vec<(usize, usize)> = (0..trace.streams).map(|stream| (0, stream)).collect();
    trace.steps.iter().for_each(|step| rows[step.stream as usize].0 += 1);
    rows.sort_unstable_by(|one, other| other.cmp(one));
    let (mut load, mut thread_of) = ([0, 0], vec![0; trace.streams]);
    for (count, stream) in rows {
        let thread = usize::from(load[1] < load[0]);
        load[thread] += count;
        thread_of[stream] = thread;
    }
    thread_of
}

/// What a pair takes, the loop's own time left out.
fn timed<P: Policy>(setup: &Setup, parts: &[Part]) -> Result<f64, ReplayError> {
    let policy = together(P::workers(setup, parts.len())?, parts)?;
    let nothing = together(parts.iter().map(|_| Nothing).collect(), parts)?;
    Ok((policy - nothing).max(0.0))
}

/// Each worker with its part on a thread of its own, all at once.
fn together<W: Worker>(workers: Vec<W>, parts: &[Part]) -> Result<f64, ReplayError> {
    let start = Barrier::new(parts.len());
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .zip(parts)
            .map(|(worker, part)| scope.spawn(|| median(worker, part, &start)))
            .collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect::<Option<Vec<_>>>()
    });
    let times = times.ok_or_else(|| ReplayError::Memory("no room while being timed".into()))?;
    let pairs: usize = parts.iter().map(Part::pairs).sum();
    Ok(times.iter().sum::<f64>() / pairs.max(1) as f64)
}

/// The median time of a pass, in nanoseconds; none if there was no room.
fn median(mut worker: impl Worker, part: &Part, start: &Barrier) -> Option<f64> {
    let mut times = Vec::new();
    let mut had_room = true;
    // (Only once: who waited for a thread that panicked would wait for ever.)
    start.wait();
    for pass in 0..=PASSES {
        let nanos = part.pass(&mut worker, pass, &mut had_room);
        if pass > 0 {
            times.push(nanos);
        }
    }
    times.sort_by(f64::total_cmp);
    had_room.then(|| times[times.len() / 2])
}

impl Part {
    fn repetitions(&self) -> usize {
        STEPS_IN_A_PASS.div_ceil(self.steps.len().max(1))
    }

    /// Pairs in a pass.
    fn pairs(&self) -> usize {
        self.steps.len() / 2 * self.repetitions()
    }

    #[allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
    fn pass(&self, worker: &mut impl Worker, pass: usize, had_room: &mut bool) -> f64 {
        let begin = Instant::now();
        for repetition in 0..self.repetitions() {
            let later = (pass * self.repetitions() + repetition) as f64 * self.period;
            for step in &self.steps {
                let step = Step { t_us: step.t_us + later, ..*step };
                match step.op {
                    Op::Allocate => *had_room &= worker.allocate(&step),
                    Op::Free => worker.free(&step),
                }
            }
        }
        begin.elapsed().as_nanos() as f64
    }
}

/// Takes steps and does nothing.
struct Nothing;

impl Worker for Nothing {
    fn allocate(&mut self, step: &Step) -> bool {
        black_box(step);
        true
    }

    fn free(&mut self, step: &Step) {
        black_box(step);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parts(rows: &str) -> [Part; 2] {
        let text = format!("t_us,op,id,bytes,stream\n{rows}");
        let trace = Trace::parse("rows", text.as_bytes()).unwrap();
        halves(&trace, &whole(&trace))
    }

    fn seen(part: &Part, what: impl Fn(&Step) -> u32) -> BTreeSet<u32> {
        part.steps.iter().map(what).collect()
    }

    #[test]
    fn threads_share_neither_blocks_nor_streams() {
        for rows in [
            "0,a,0,9,0\n1,f,0,9,0\n2,a,1,9,0\n",
            "0,a,0,9,4\n0,a,1,9,5\n1,f,0,9,5\n2,a,2,9,6\n2,f,2,9,4\n3,a,3,9,5\n",
        ] {
            let [one, other] = parts(rows);
            assert!(seen(&one, |step| step.id).is_disjoint(&seen(&other, |step| step.id)));
            assert!(seen(&one, |step| step.stream).is_disjoint(&seen(&other, |step| step.stream)));
            for part in [one, other] {
                let taken = part.steps.iter().filter(|step| step.op == Op::Allocate).count();
                assert_eq!(taken * 2, part.steps.len(), "each block is freed");
            }
        }
    }
}
