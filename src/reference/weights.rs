//! The weights of a network under PyTorch's names.

use ndarray::{Array, Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, Dimension};

use super::cell::Cell;
use crate::{Error, Result};

/// What one layer computes its sums with, `U·x_t + b_ih` and `W·h_{t-1} + b_hh`; row `g·H + j` belongs to gate `g` of unit `j`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerWeights {
    /// `U`, `[G·H, I]` in the first layer and `[G·H, H]` above, or `[G·H, 2H]` where both directions of the layer below are read.
    pub input: Array2<f64>,
    /// `W`, `[G·H, H]`.
    pub recurrent: Array2<f64>,
    /// `M`, `[G·H, H]`: 1 where there is a connection and 0 where there is none, if it has such a mask. `W` is 0 where it is.
    pub mask: Option<Array2<f64>>,
    /// `b_ih`, `[G·H]`.
    pub input_bias: Array1<f64>,
    /// `b_hh`, `[G·H]`.
    pub recurrent_bias: Array1<f64>,
    /// α of each unit, `[H]`, or one for all, `[1]`. It is not trained: a gradient has zero here. `[0]` where the cell has none.
    pub leak: Array1<f64>,
}

/// All weights of a network, or the gradient by each of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// `E`, `[tokens, N]`: the vectors that tokens are embedded as, which the first layer reads.
    pub embedding: Option<Array2<f64>>,
    /// The layers, the one that reads the input first. Of two directions each layer is two of them, forward before reverse.
    pub layers: Vec<LayerWeights>,
    /// Whether there are two directions.
    pub bidirectional: bool,
    /// `V`, `[O, H]` or `[O, 2H]`.
    pub decoder: Array2<f64>,
    /// `c`, `[O]`.
    pub decoder_bias: Array1<f64>,
}

impl Weights {
    /// The weights that `tensor` has under PyTorch's names: for each layer `rnn.weight_ih_l{k}` `[G·H, I or H]`, `rnn.weight_hh_l{k}`
    /// `[G·H, H]`, `rnn.bias_ih_l{k}` and `rnn.bias_hh_l{k}` `[G·H]`, and then `decoder.weight` `[O, H]` and `decoder.bias` `[O]`;
    /// for leaky also `rnn.leak_l{k}` `[H]` or `[1]`. There are as many layers as there are `rnn.weight_hh_l{k}`. Where there is a
    /// `rnn.weight_hh_l0_reverse` each layer has a second direction, whose names end so; where there is an `encoder.weight` `[tokens, N]`
    /// tokens are embedded.
    ///
    /// A `rnn.bias_hh_l{k}` that is not there is zero. Where there is a `rnn.mask_hh_l{k}` `[G·H, H]`, the recurrent weight is multiplied by it.
    ///
    /// # Errors
    /// What `tensor` reports; [`Error::BadInput`] for a tensor that is missing or has a wrong number of axes.
    pub fn new(cell: &Cell, mut tensor: impl FnMut(&str) -> Result<Option<ArrayD<f64>>>) -> Result<Weights> {
        // Each tensor is asked for once.
        let mut reverse = tensor("rnn.weight_hh_l0_reverse")?;
        let bidirectional = reverse.is_some();
        let mut layers = Vec::new();
        for k in 0.. {
            let Some(recurrent) = tensor(&format!("rnn.weight_hh_l{k}"))? else { break };
            layers.push(LayerWeights::new(cell, &format!("l{k}"), Some(recurrent), &mut tensor)?);
            if bidirectional {
                layers.push(LayerWeights::new(cell, &format!("l{k}_reverse"), reverse.take(), &mut tensor)?);
            }
        }
        let embedding = tensor(EMBEDDING)?.map(|array| ranked(EMBEDDING, array)).transpose()?;
        let decoder = required(&mut tensor, "decoder.weight")?;
        Ok(Weights { embedding, layers, bidirectional, decoder, decoder_bias: required(&mut tensor, "decoder.bias")? })
    }

    /// The directions of each layer, 1 or 2.
    #[must_use]
    pub fn directions(&self) -> usize {
        suffixes(self.bidirectional).len()
    }

    /// Every tensor that is trained under PyTorch's name for it, the embedding or `rnn.weight_ih_l0` first and `decoder.bias` last.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, ArrayViewD<'_, f64>)> {
        let mut all: Vec<_> = self.embedding.iter().map(|embedding| embedding.view().into_dyn()).collect();
        for LayerWeights { input, recurrent, input_bias, recurrent_bias, .. } in &self.layers {
            all.extend([input.view().into_dyn(), recurrent.view().into_dyn()]);
            all.extend([input_bias.view().into_dyn(), recurrent_bias.view().into_dyn()]);
        }
        all.extend([self.decoder.view().into_dyn(), self.decoder_bias.view().into_dyn()]);
        self.names().into_iter().zip(all).collect()
    }

    /// The same tensors in the same order, to be changed.
    pub fn tensors_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, f64>)> {
        let names = self.names();
        let mut all: Vec<_> = self.embedding.iter_mut().map(|embedding| embedding.view_mut().into_dyn()).collect();
        for LayerWeights { input, recurrent, input_bias, recurrent_bias, .. } in &mut self.layers {
            all.extend([input.view_mut().into_dyn(), recurrent.view_mut().into_dyn()]);
            all.extend([input_bias.view_mut().into_dyn(), recurrent_bias.view_mut().into_dyn()]);
        }
        all.extend([self.decoder.view_mut().into_dyn(), self.decoder_bias.view_mut().into_dyn()]);
        names.into_iter().zip(all).collect()
    }

    /// The names of all tensors that are trained.
    fn names(&self) -> Vec<String> {
        let (directions, suffixes) = (self.directions(), suffixes(self.bidirectional));
        let of = |place: usize| {
            let suffix = format!("l{}{}", place / directions, suffixes[place % directions]);
            ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| format!("rnn.{name}_{suffix}"))
        };
        let embedding = self.embedding.iter().map(|_| EMBEDDING.to_owned());
        let layers = (0..self.layers.len()).flat_map(of);
        embedding.chain(layers).chain(["decoder.weight".into(), "decoder.bias".into()]).collect()
    }

    /// Checks that the shapes fit the cell and each other, that masks are of zeros and ones, and α: the hidden size is the rows of the first `W` over the gates, the
    /// input's size the columns of the first `U`, or the rows of the embedding. Returns (input size, hidden size, outputs).
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor and what was expected.
    pub fn check(&self, cell: &Cell) -> Result<(usize, usize, usize)> {
        let first = self.layers.first().ok_or_else(|| Error::input("weights", "a network has at least one layer"))?;
        let (hidden, size, outputs) = (first.recurrent.nrows() / cell.gates, first.input.ncols(), self.decoder.nrows());
        let (rows, directions) = (cell.gates * hidden, self.directions());
        if !self.layers.len().is_multiple_of(directions) {
            return Err(Error::input("weights", format!("{} layers of one direction are not pairs of them", self.layers.len())));
        }
        let wrong = |name: String, expected: &[usize], got: &[usize]| {
            Err(Error::input(name, format!("expected shape {expected:?}, got {got:?}")))
        };
        let embedded = usize::from(self.embedding.is_some());
        if let Some(embedding) = self.embedding.as_ref().filter(|embedding| embedding.ncols() != size) {
            return wrong(EMBEDDING.into(), &[embedding.nrows(), size], embedding.shape());
        }
        for (place, (name, tensor)) in self.tensors().into_iter().skip(embedded).enumerate() {
            let (layer, role) = (place / 4, place % 4);
            let expected = match (layer == self.layers.len(), role) {
                (false, 0) => vec![rows, if layer < directions { size } else { directions * hidden }],
                (false, 1) => vec![rows, hidden],
                (false, _) => vec![rows],
                (true, 0) => vec![outputs, directions * hidden],
                (true, _) => vec![outputs],
            };
            if tensor.shape() != expected {
                return wrong(name, &expected, tensor.shape());
            }
        }
        for (k, LayerWeights { mask, .. }) in self.layers.iter().enumerate() {
            let name = format!("rnn.mask_hh_l{}{}", k / directions, suffixes(self.bidirectional)[k % directions]);
            let mut values = mask.iter().flat_map(|mask| mask.indexed_iter());
            if let Some(((i, j), value)) = values.find(|(_, value)| **value != 0.0 && **value != 1.0) {
                let problem = format!("[{i}, {j}] is {value}; expected 0 where there is no connection, and else 1");
                return Err(Error::input(name, problem));
            }
        }
        for (k, LayerWeights { leak, .. }) in self.layers.iter().enumerate().filter(|_| cell.has_leak) {
            let name = format!("rnn.leak_l{}{}", k / directions, suffixes(self.bidirectional)[k % directions]);
            if leak.len() != hidden && leak.len() != 1 {
                return wrong(name, &[hidden], leak.shape());
            }
            if let Some((j, alpha)) = leak.iter().enumerate().find(|&(_, &alpha)| !(alpha > 0.0 && alpha <= 1.0)) {
                return Err(Error::input(name, format!("[{j}] is {alpha}; expected a number above 0 and up to 1")));
            }
        }
        Ok((self.embedding.as_ref().map_or(size, Array2::nrows), hidden, outputs))
    }
}

impl LayerWeights {
    /// The tensors of a layer and a direction, whose names end so, of which the recurrent one may be there already.
    fn new(
        cell: &Cell,
        suffix: &str,
        recurrent: Option<ArrayD<f64>>,
        tensor: &mut impl FnMut(&str) -> Result<Option<ArrayD<f64>>>,
    ) -> Result<LayerWeights> {
        let input_bias: Array1<f64> = required(tensor, &format!("rnn.bias_ih_{suffix}"))?;
        let second = format!("rnn.bias_hh_{suffix}");
        let recurrent: Array2<f64> = match recurrent {
            Some(recurrent) => ranked(&format!("rnn.weight_hh_{suffix}"), recurrent)?,
            None => required(tensor, &format!("rnn.weight_hh_{suffix}"))?,
        };
        let name = format!("rnn.mask_hh_{suffix}");
        let mask: Option<Array2<f64>> = tensor(&name)?.map(|mask| ranked(&name, mask)).transpose()?;
        if let Some(mask) = mask.as_ref().filter(|mask| mask.shape() != recurrent.shape()) {
            return Err(Error::input(name, format!("expected shape {:?}, got {:?}", recurrent.shape(), mask.shape())));
        }
        let mut all = LayerWeights {
            input: required(tensor, &format!("rnn.weight_ih_{suffix}"))?,
            recurrent,
            mask,
            recurrent_bias: match tensor(&second)? {
                Some(bias) => ranked(&second, bias)?,
                None => Array1::zeros(input_bias.len()),
            },
            leak: match cell.has_leak {
                true => required(tensor, &format!("rnn.leak_{suffix}"))?,
                false => Array1::zeros(0),
            },
            input_bias,
        };
        all.apply_mask();
        Ok(all)
    }

    /// Makes zero what has no connection.
    pub fn apply_mask(&mut self) {
        if let Some(mask) = &self.mask {
            self.recurrent *= mask;
        }
    }
}

/// The name of the embedding, as in PyTorch's example word_language_model.
const EMBEDDING: &str = "encoder.weight";

/// What the names of a layer's directions end with.
fn suffixes(bidirectional: bool) -> &'static [&'static str] {
    if bidirectional { &["", "_reverse"] } else { &[""] }
}

fn required<D: Dimension>(tensor: &mut impl FnMut(&str) -> Result<Option<ArrayD<f64>>>, name: &str) -> Result<Array<f64, D>> {
    ranked(name, tensor(name)?.ok_or_else(|| Error::input(name, "it is missing"))?)
}

fn ranked<D: Dimension>(name: &str, array: ArrayD<f64>) -> Result<Array<f64, D>> {
    let (shape, axes) = (array.shape().to_vec(), D::NDIM.unwrap_or_default());
    array.into_dimensionality().map_err(|_| Error::input(name, format!("expected {axes} axes, got shape {shape:?}")))
}
