//! A directed graph as compressed sparse rows.

use thiserror::Error;

use crate::error::LengthError;

/// A directed graph: the out-links of vertex `v` are `targets[offsets[v]..offsets[v + 1]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph<'a> {
    offsets: &'a [i32],
    targets: &'a [i32],
}

/// Slices that are not a graph in compressed sparse rows.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// There is no first offset.
    #[error("offsets need at least one element")]
    NoOffsets,
    /// The first offset is not 0.
    #[error("offsets start at 0, not at {0}")]
    Start(i32),
    /// An offset is less than the one before.
    #[error("offsets[{index}] is less than the offset before")]
    Decreasing {
        /// The place of the lesser offset.
        index: usize,
    },
    /// The last offset is not the number of targets.
    #[error("offsets end at {end}, but there are {targets} targets")]
    End {
        /// The last offset.
        end: i32,
        /// The number of targets.
        targets: usize,
    },
    /// A target is not a vertex.
    #[error("targets[{index}] is {target}, but the graph has {vertices} vertices")]
    Target {
        /// The place of the target.
        index: usize,
        /// What it is.
        target: i32,
        /// The number of vertices.
        vertices: usize,
    },
}

impl<'a> Graph<'a> {
    /// Checks all offsets and targets.
    ///
    /// # Errors
    /// If the offsets do not rise from 0 to the number of targets, or a target is not a vertex.
    pub fn new(offsets: &'a [i32], targets: &'a [i32]) -> Result<Self, GraphError> {
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else {
            return Err(GraphError::NoOffsets);
        };
        if start != 0 {
            return Err(GraphError::Start(start));
        }
        if let Some(before) = offsets.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(GraphError::Decreasing { index: before + 1 });
        }
        if usize::try_from(end) != Ok(targets.len()) {
            return Err(GraphError::End { end, targets: targets.len() });
        }
        let vertices = offsets.len() - 1;
        let outside = |&target: &i32| usize::try_from(target).map_or(true, |t| t >= vertices);
        if let Some(index) = targets.iter().position(outside) {
            return Err(GraphError::Target { index, target: targets[index], vertices });
        }
        Ok(Self { offsets, targets })
    }

    /// The number of vertices.
    #[must_use]
    pub const fn vertices(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The number of links.
    #[must_use]
    pub const fn edges(&self) -> usize {
        self.targets.len()
    }

    /// Where the out-links of each vertex begin, and at the end where all do.
    pub(super) const fn offsets(&self) -> &'a [i32] {
        self.offsets
    }

    /// The number of out-links of a vertex.
    pub(super) fn out_links(&self, vertex: usize) -> i32 {
        self.offsets[vertex + 1] - self.offsets[vertex]
    }

    /// Writes the graph with all links reversed: afterwards `sources[in_offsets[v]..in_offsets[v +
    /// 1]]` are the vertices that link to `v`, in rising order. The device reads both.
    ///
    /// # Errors
    /// If `in_offsets` does not have one element more than there are vertices, or `sources` does
    /// not have one per link.
    pub fn transpose(
        &self,
        in_offsets: &mut [i32],
        sources: &mut [i32],
    ) -> Result<(), LengthError> {
        LengthError::unless_exact("in_offsets", in_offsets.len(), self.offsets.len())?;
        LengthError::unless_exact("sources", sources.len(), self.targets.len())?;
        // A counting sort by target. First in_offsets[v + 1] counts the links to v …
        in_offsets.fill(0);
        for &target in self.targets {
            in_offsets[target as usize + 1] += 1;
        }
        // … then in_offsets[v] is where those begin …
        let mut end = 0;
        for offset in in_offsets.iter_mut() {
            end += *offset;
            *offset = end;
        }
        // … and moves to where they end while they are filled in …
        for (source, links) in self.offsets.windows(2).enumerate() {
            for &target in &self.targets[links[0] as usize..links[1] as usize] {
                let place = &mut in_offsets[target as usize];
                sources[*place as usize] = source as i32;
                *place += 1;
            }
        }
        // … which is where those of v + 1 begin.
        in_offsets.copy_within(..self.vertices(), 1);
        in_offsets[0] = 0;
        Ok(())
    }
}
