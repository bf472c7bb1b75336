//! What the parameters of a network begin as.

use std::ops::Range;

use ndarray::ArrayD;

use super::{Gates, NamedArrays, Parameter, Role, table};
use crate::cells::Cell;
use crate::memory::check_memory_or;
use crate::model::config::{Config, RecurrentInit, USUAL_LEAK};
use crate::random::{Random, stream};
use crate::{Error, Result};

impl Parameter {
    /// What it starts as; `index` is its place in the table.
    pub fn initial(&self, config: &Config, index: usize, seed: u64, init: RecurrentInit) -> Initial {
        let bound = (1.0 / (config.hidden as f64).sqrt()) as f32;
        let random = Random::new(seed, stream::INIT + index as u64);
        let start = match (self.role, init) {
            (Role::Leak, _) => Start::Constant(config.leak.unwrap_or(USUAL_LEAK)),
            (Role::Mask, _) => Start::Constant(1.0),
            (Role::Embedding, _) => Start::Normal(random),
            (Role::Recurrent, RecurrentInit::Identity) => Start::Identity,
            (Role::Recurrent, RecurrentInit::Orthogonal) => Start::Orthogonal(random, None),
            (Role::Bias | Role::RecurrentBias | Role::DecoderBias, RecurrentInit::Identity) => Start::Constant(0.0),
            _ => Start::Uniform(random, bound),
        };
        let raised = match (self.role, config.cell.forget_gate) {
            (Role::Bias, Some(gate)) if config.forget_bias != 0.0 => Some((gate as usize, config.forget_bias)),
            _ => None,
        };
        let balance = (self.role == Role::Recurrent).then(|| Balance::new(config)).flatten();
        Initial { start, cols: self.shape.1, gates: self.gates.clone(), is_vector: self.is_vector(), raised, balance }
    }
}

/// The initial values of a parameter, which are made from its first row on.
pub(crate) struct Initial {
    start: Start,
    cols: usize,
    gates: Gates,
    is_vector: bool,
    /// A gate of a bias, and what is added to it.
    raised: Option<(usize, f32)>,
    /// The signs of a recurrent weight, where they are fixed.
    balance: Option<Balance>,
}

/// The signs of the columns of a recurrent weight, and what the weights are multiplied by: of n excitatory units and m inhibitory ones √(m/n) and
/// √(n/m). So what excites a unit and what inhibits it are alike on average, and so is the variance to that without signs.
#[derive(Clone, Copy)]
struct Balance {
    excitatory: usize,
    factors: [f32; 2],
}

impl Balance {
    fn new(config: &Config) -> Option<Balance> {
        let excitatory = config.excitatory()?;
        let ratio = excitatory as f64 / (config.hidden - excitatory) as f64;
        Some(Balance { excitatory, factors: [ratio.sqrt().recip() as f32, -ratio.sqrt() as f32] })
    }

    /// A weight of a column.
    fn weight(self, col: usize, value: f32) -> f32 {
        value.abs() * self.factors[usize::from(col >= self.excitatory)]
    }
}

enum Start {
    Constant(f32),
    Identity,
    /// Between minus and plus a bound.
    Uniform(Random, f32),
    /// Of mean 0 and deviation 1.
    Normal(Random),
    /// The Q of a gate, which is made when the gate's first row is asked for.
    Orthogonal(Random, Option<(usize, faer::Mat<f64>)>),
}

impl Initial {
    /// The next rows of PyTorch's shape, all of one gate; each call begins where the one before ended.
    pub fn rows(&mut self, rows: Range<usize>) -> Vec<f32> {
        let (cols, units) = (self.cols, self.gates.units);
        let places = rows.clone().flat_map(|r| (0..cols).map(move |c| (r % units, c)));
        let mut values: Vec<f32> = match &mut self.start {
            Start::Constant(value) => vec![*value; rows.len() * cols],
            Start::Identity => places.map(|(r, c)| f32::from(u8::from(r == c))).collect(),
            Start::Uniform(random, bound) => (0..rows.len() * cols).map(|_| random.uniform_in(-*bound, *bound)).collect(),
            Start::Normal(random) => (0..rows.len() * cols).map(|_| random.normal() as f32).collect(),
            Start::Orthogonal(random, last) => {
                let gate = rows.start / units;
                if last.as_ref().is_none_or(|(of, _)| *of != gate) {
                    // The one before goes first: two would take twice the memory.
                    *last = None;
                    *last = Some((gate, orthogonal(units, random)));
                }
                let (_, q) = last.as_ref().expect("it was made");
                places.map(|at| q[at] as f32).collect()
            }
        };
        if let Some(balance) = self.balance {
            values.iter_mut().enumerate().for_each(|(i, value)| *value = balance.weight(i % cols, *value));
        }
        if self.is_vector {
            for (place, value) in values.iter_mut().enumerate() {
                let gate = place / units;
                if !self.gates.held.contains(&gate) {
                    *value = 0.0;
                }
                *value += self.raised.filter(|(raised, _)| *raised == gate).map_or(0.0, |(_, by)| by);
            }
        }
        values
    }
}

/// Initial values as PyTorch's: uniform in (−1/√H, 1/√H), with `W` as told, and those of an embedding standard normal. A seed gives the same bits everywhere, but
/// for orthogonal ones, which are the same on one machine.
///
/// # Errors
/// [`Error::Usage`] or [`Error::DoesNotFit`] when the configuration is not right, or when there is no memory for an orthogonal matrix.
pub fn initial(config: &Config, seed: u64, init: RecurrentInit) -> Result<NamedArrays> {
    config.check()?;
    check_initial(config, init)?;
    let values = |(index, parameter): (usize, &Parameter)| {
        let mut initial = parameter.initial(config, index, seed, init);
        let values = parameter.blocks().flat_map(|rows| initial.rows(rows)).collect();
        (parameter.name.clone(), ArrayD::from_shape_vec(parameter.extents(), values).expect("values of its shape"))
    };
    Ok(table(config).iter().enumerate().map(values).collect())
}

/// Bytes that an orthogonal matrix takes for each of its elements while it is made, in f64: normal numbers, the factorisation, Q.
const ORTHOGONAL: u64 = 24;

/// Checks that the recurrent weights can start so.
///
/// # Errors
/// [`Error::Usage`] for the identity where there are gates or fixed signs.
pub(crate) fn check_start(config: &Config, init: RecurrentInit) -> Result<()> {
    if config.can_start(init) {
        return Ok(());
    }
    let cell = config.cell;
    let problem = match init.suits(cell) {
        true => "with signs that are fixed (dale) the recurrent weights cannot start as the identity".into(),
        false => {
            let others = Cell::names_with(|cell| cell.gates == 1);
            format!("the identity is an initial recurrent weight for {others}; {cell} has gates")
        }
    };
    Err(Error::Usage(problem))
}

/// Checks that the recurrent weights can start so, and that there is memory to make the initial values: an orthogonal matrix is factorised whole, the others are made in blocks.
///
/// # Errors
/// As [`check_start`]; [`Error::DoesNotFit`] with the largest hidden size that would fit.
pub(crate) fn check_initial(config: &Config, init: RecurrentInit) -> Result<()> {
    check_start(config, init)?;
    if init != RecurrentInit::Orthogonal {
        return Ok(());
    }
    let needed = ORTHOGONAL.saturating_mul((config.hidden as u64).pow(2));
    check_memory_or("an orthogonal initial weight", needed, |available| {
        let largest = (available / ORTHOGONAL).isqrt();
        format!("hidden size {largest} would fit, and uniform or identity initial weights at any size")
    })
}

/// Q of the QR factorisation of a matrix of normal numbers, its columns' signs those of R's diagonal, which makes it
/// uniform among the orthogonal matrices (Mezzadri 2007).
fn orthogonal(size: usize, random: &mut Random) -> faer::Mat<f64> {
    let normal = faer::Mat::from_fn(size, size, |_, _| random.normal());
    // On one thread: how many take part would show in the last bits.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let qr = alone.map_or_else(|_| normal.qr(), |pool| pool.install(|| normal.qr()));
    drop(normal);
    let (mut q, r) = (qr.compute_thin_Q(), qr.thin_R());
    for j in (0..size).filter(|&j| r[(j, j)] < 0.0) {
        q.col_mut(j).iter_mut().for_each(|x| *x = -*x);
    }
    q
}
