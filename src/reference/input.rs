//! What a layer reads at all steps.

use ndarray::{Array2, Axis, CowArray, Ix2};

use super::layer::rows;
use crate::batch::{Batch, Inputs};

/// `X`, `[T·B, ·]`. What lies behind a sequence's end is zero, or the first token: it is not read.
pub(super) enum LayerInput<'a> {
    /// A token is a one-hot vector.
    Tokens(CowArray<'a, u32, Ix2>),
    Vectors(CowArray<'a, f64, Ix2>),
}

impl<'a> LayerInput<'a> {
    /// That of the first layer.
    pub fn of_batch(batch: &'a Batch) -> Self {
        match &batch.inputs {
            Inputs::Tokens(tokens) if batch.lengths.is_none() => Self::Tokens(tokens.into()),
            Inputs::Tokens(tokens) => {
                let read = |(at, &token): ((usize, usize), &u32)| if batch.is_read(at.0, at.1) { token } else { 0 };
                let read: Vec<u32> = tokens.indexed_iter().map(read).collect();
                Self::Tokens(Array2::from_shape_vec(tokens.dim(), read).expect("a token for each").into())
            }
            Inputs::Vectors(vectors) => {
                let mut all = vectors.as_standard_layout().mapv(f64::from);
                all.indexed_iter_mut().filter(|((t, b, _), _)| !batch.is_read(*t, *b)).for_each(|(_, x)| *x = 0.0);
                Self::Vectors(rows(all.view()).to_owned().into())
            }
        }
    }

    /// `|X|`.
    pub fn magnitudes(&self) -> LayerInput<'a> {
        match self {
            Self::Tokens(tokens) => LayerInput::Tokens(tokens.clone()),
            Self::Vectors(vectors) => LayerInput::Vectors(vectors.mapv(f64::abs).into()),
        }
    }

    /// `X·Uᵀ`; a token picks a column of `U`.
    pub fn times(&self, weight: &Array2<f64>) -> Array2<f64> {
        match self {
            Self::Tokens(tokens) => {
                let columns: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
                weight.t().select(Axis(0), &columns)
            }
            Self::Vectors(vectors) => vectors.dot(&weight.t()),
        }
    }

    /// Of each token its row of an embedding, `[T·B, N]`.
    pub fn rows_of(&self, embedding: &Array2<f64>) -> Array2<f64> {
        self.times(&embedding.t().to_owned())
    }

    /// `∂L/∂U = Σ_t δ_t·x_tᵀ = Dᵀ·X`, `[G·H, size]`; a token's column is the sum of `δ_t` over the steps at which it was read.
    pub fn d_weight(&self, d_sums: &Array2<f64>, size: usize) -> Array2<f64> {
        match self {
            Self::Tokens(tokens) => {
                let mut transposed = Array2::zeros((size, d_sums.ncols()));
                for (&token, d_sum) in tokens.iter().zip(d_sums.rows()) {
                    let mut row = transposed.row_mut(token as usize);
                    row += &d_sum;
                }
                transposed.t().as_standard_layout().into_owned()
            }
            Self::Vectors(vectors) => d_sums.t().dot(vectors),
        }
    }
}
