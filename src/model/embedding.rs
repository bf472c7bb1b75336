//! A trained embedding: for each token a vector, which the first layer reads in the token's place.
//!
//! Forward: x_t = E[token_t]. Backward: ∂L/∂E[v] = Σ ∂L/∂x_t over all places where the token is v, in ascending order. Both directions of the
//! first layer read the same vectors.

use super::config::Config;
use super::parameters::{Parameters, Role};
use super::recurrent::{InputWindows, TokenWindows};
use super::segment::Segment;
use crate::kernels::embedding;
use crate::kernels::gemm::Epilogue;
use crate::program::{Mat, Program};

/// The windows of an embedding of V tokens as vectors of N numbers.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    tokens: TokenWindows,
    /// `[V, N]`.
    weight: Mat,
    d_weight: Mat,
    /// `[1, N]`: what the lookup adds to each row. Nothing writes it.
    zeros: Mat,
    /// x, `[T·B, N]`. Behind the end of a sequence it is the vector of token 0.
    pub vectors: Mat,
    /// ∂L/∂x, which is zero there.
    pub d_vectors: Mat,
}

impl Embedding {
    /// Declares the buffers of an embedding, if the network has one.
    pub fn new(
        program: &mut Program,
        config: &Config,
        parameters: &Parameters,
        gradients: &[Mat],
        inputs: &InputWindows,
    ) -> Option<Embedding> {
        let place = parameters.place(None, Role::Embedding)?;
        let InputWindows::Tokens(directions) = inputs else { unreachable!("an embedding is of tokens") };
        let weight = parameters.windows[place];
        let rows = (config.window * config.batch) as u32;
        Some(Embedding {
            tokens: directions[0],
            weight,
            d_weight: gradients[place],
            zeros: program.matrix("zeros beside the embedding", 1, weight.cols),
            vectors: program.transient("embedded tokens", rows, weight.cols),
            d_vectors: program.transient("gradient of embedded tokens", rows, weight.cols),
        })
    }

    /// Records the vectors of all segments.
    pub fn forward(&self, program: &mut Program, segments: &[Segment]) {
        for segment in segments {
            embedding::lookup(
                program,
                segment.indices(self.tokens.tokens),
                self.weight,
                self.zeros,
                segment.rows_in(self.vectors),
            );
        }
    }

    /// Records the gradient by the weight, from that by the vectors of all segments.
    pub fn backward(&self, program: &mut Program, segments: &[Segment]) {
        for segment in segments.iter().rev() {
            let sum = if segment.is_last { Epilogue::Store } else { Epilogue::Add };
            let TokenWindows { order, starts, .. } = self.tokens.in_segment(segment);
            embedding::gradient(program, order, starts, segment.rows_in(self.d_vectors), self.d_weight, sum);
        }
    }
}
