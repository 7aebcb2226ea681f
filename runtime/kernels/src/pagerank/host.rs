//! PageRank on the host.

use thiserror::Error;

pub use super::graph::{Graph, GraphError};
use crate::error::{LengthError, elements};
use crate::parallel::{self, Caller};

/// Vertices and links from which threads share the work.
const PARALLEL_FROM: usize = 1 << 18;

/// Vertices of a piece.
const PIECE: usize = 1 << 12;

/// How ranks are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The probability to follow a link, 0 to 1; 0.85 is usual.
    pub damping: f32,
    /// The change of all ranks in sum at which the iteration has converged; not negative.
    pub tolerance: f32,
    /// The greatest number of iterations; 0 leaves all ranks equal.
    pub iterations: u32,
}

/// Settings without meaning, or slices of the wrong length.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum PageRankError {
    /// The damping is not a probability.
    #[error("damping must be between 0 and 1, not {0}")]
    Damping(f32),
    /// The tolerance is negative or not a number.
    #[error("tolerance must not be negative or NaN, but is {0}")]
    Tolerance(f32),
    /// A slice's length does not match.
    #[error(transparent)]
    Length(#[from] LengthError),
}

impl Settings {
    /// `Ok` if the settings have a meaning. The device relies on it too.
    ///
    /// # Errors
    /// If `damping` is not between 0 and 1, or `tolerance` is negative or NaN.
    pub fn check(&self) -> Result<(), PageRankError> {
        if !(0.0..=1.0).contains(&self.damping) {
            return Err(PageRankError::Damping(self.damping));
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return Err(PageRankError::Tolerance(self.tolerance));
        }
        Ok(())
    }
}

/// The scratch memory of [`pagerank`] for a graph of that size, in bytes: ranks, contributions and
/// the transposed graph.
#[must_use]
pub fn scratch_bytes(vertices: usize, edges: usize) -> usize {
    elements(&[scratch_len(vertices, edges), size_of::<f64>()])
}

fn scratch_len(vertices: usize, edges: usize) -> usize {
    2 * vertices + (vertices + 1 + edges).div_ceil(2)
}

/// Writes the rank of every vertex to `ranks` and returns the number of iterations it took.
///
/// `scratch` is any memory of [`scratch_bytes`].
///
/// # Errors
/// If a setting has no meaning, or a slice's length does not match the graph.
pub fn pagerank(
    graph: &Graph<'_>,
    settings: &Settings,
    ranks: &mut [f32],
    scratch: &mut [f64],
) -> Result<u32, PageRankError> {
    settings.check()?;
    let vertices = graph.vertices();
    LengthError::unless_exact("ranks", ranks.len(), vertices)?;
    LengthError::unless_enough("scratch", scratch.len(), scratch_len(vertices, graph.edges()))?;
    if vertices == 0 {
        return Ok(0);
    }
    let (precise, rest) = scratch.split_at_mut(vertices);
    let (contributions, indices) = rest.split_at_mut(vertices);
    let indices: &mut [i32] = bytemuck::cast_slice_mut(indices);
    let (in_offsets, rest) = indices.split_at_mut(vertices + 1);
    let sources = &mut rest[..graph.edges()];
    graph.transpose(in_offsets, sources)?;

    let mut iteration = Iteration {
        graph,
        in_offsets,
        sources,
        damping: f64::from(settings.damping),
        ranks: precise,
        contributions,
    };
    let parallel = vertices + graph.edges() >= PARALLEL_FROM;
    let done = parallel::entered(parallel, || iteration.run(settings, parallel));
    for (rank, precise) in ranks.iter_mut().zip(&*iteration.ranks) {
        *rank = *precise as f32;
    }
    Ok(done)
}

struct Iteration<'a> {
    graph: &'a Graph<'a>,
    in_offsets: &'a [i32],
    sources: &'a [i32],
    damping: f64,
    ranks: &'a mut [f64],
    /// What each vertex gives to every vertex it links to.
    contributions: &'a mut [f64],
}

impl Iteration<'_> {
    /// Steps until the ranks have converged, or as often as allowed; returns how often.
    fn run(&mut self, settings: &Settings, parallel: bool) -> u32 {
        let caller = Caller::current();
        self.ranks.fill(1.0 / self.graph.vertices() as f64);
        for done in 1..=settings.iterations {
            if self.step(parallel) <= f64::from(settings.tolerance) || caller.has_gone() {
                return done;
            }
        }
        settings.iterations
    }

    /// One step; returns the sum of the changes of all ranks.
    fn step(&mut self, parallel: bool) -> f64 {
        let vertices = self.graph.vertices();
        let dangling = self.spread(parallel);
        let base = (1.0 - self.damping + self.damping * dangling) / vertices as f64;
        let contributions = &*self.contributions;
        let changes = parallel::map_pieces(self.ranks, PIECE, parallel, |range, ranks| {
            let mut change = 0.0;
            for (rank, links) in ranks.iter_mut().zip(self.in_offsets[range.start..].windows(2)) {
                let sources = &self.sources[links[0] as usize..links[1] as usize];
                let sum: f64 = sources.iter().map(|&source| contributions[source as usize]).sum();
                let new = base + self.damping * sum;
                change += (new - *rank).abs();
                *rank = new;
            }
            change
        });
        changes.iter().sum()
    }

    /// Divides every rank among its out-links; returns the rank of dangling vertices.
    fn spread(&mut self, parallel: bool) -> f64 {
        let (graph, ranks) = (self.graph, &*self.ranks);
        let dangling = parallel::map_pieces(self.contributions, PIECE, parallel, |range, parts| {
            let mut dangling = 0.0;
            for (part, vertex) in parts.iter_mut().zip(range) {
                match graph.out_links(vertex) {
                    0 => (dangling, *part) = (dangling + ranks[vertex], 0.0),
                    links => *part = ranks[vertex] / f64::from(links),
                }
            }
            dangling
        });
        dangling.iter().sum()
    }
}
