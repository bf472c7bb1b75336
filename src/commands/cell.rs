//! The flags that choose a cell, and what follows from weights that are there.

use clap::Args;
use retrospect::cells::Cell;
use retrospect::model::{Biases, Config, USUAL_LEAK, cell as cell_of, is_bidirectional};
use retrospect::tensors::TensorFile;
use retrospect::train::Settings;
use retrospect::{Activation, Error, Result};

/// Which cell, and α of one that has it.
#[derive(Args)]
#[group(id = "CellArgs", multiple = true)]
pub struct CellArgs {
    #[arg(long, value_name = "NAME", value_parser = named, help = about(), help_heading = "Network")]
    pub cell: Option<&'static Cell>,

    /// α of a leaky network, for all units, in (0, 1] [default: that of the weights, or 0.2]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = leak, help_heading = "Network")]
    pub leak: Option<f64>,

    /// Give each layer a second direction that runs backward in time, with its own weights; not for --text [default: as in the weights]
    #[arg(long, help_heading = "Network")]
    pub bidirectional: bool,
}

/// How its biases are trained and start.
#[derive(Args)]
#[group(id = "BiasArgs", multiple = true)]
pub struct BiasArgs {
    /// Bias vectors that a layer trains: one, or both of PyTorch's, which together learn twice as fast [default: one]
    #[arg(long, value_name = "one|two", help_heading = "Network")]
    pub biases: Option<Biases>,

    /// Added to the initial bias of an LSTM's forget gate [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite, help_heading = "Network")]
    pub forget_bias: Option<f32>,
}

impl CellArgs {
    /// The cell that is asked for, or that of the weights: of a checkpoint by its metadata, of others by their shapes.
    ///
    /// # Errors
    /// [`Error::Usage`] when φ or a leak is asked for that the cell does not have; [`Error::BadInput`] when the weights are of no cell.
    pub fn choose(&self, weights: Option<&TensorFile>, activation: Option<Activation>) -> Result<&'static Cell> {
        let of_weights = || match weights {
            Some(weights) => trained(weights).map_or_else(|| cell_of(weights), |network| Ok(network.cell)),
            None => Ok(Cell::usual()),
        };
        let cell = self.cell.map_or_else(of_weights, Ok)?;
        match (activation, self.leak) {
            (Some(activation), _) if !cell.has_activation => {
                let others = activated();
                Err(Error::Usage(format!("--activation {activation} is for {others}; the gates of {cell} have their own")))
            }
            (_, Some(leak)) if !cell.has_leak => {
                let others = Cell::names_with(|cell| cell.has_leak);
                Err(Error::Usage(format!("--leak {leak} is for {others}, and the cell is {cell}")))
            }
            _ => Ok(cell),
        }
    }

    /// Whether there are two directions: if it is asked for, or if the weights are of two.
    pub fn is_bidirectional(&self, weights: Option<&TensorFile>) -> bool {
        self.bidirectional || weights.is_some_and(is_bidirectional)
    }

    /// α in f64, where neither the weights have it nor another is asked for the usual one.
    pub fn leak_or_usual(&self) -> f64 {
        self.leak.unwrap_or(f64::from(USUAL_LEAK))
    }
}

/// The network of a checkpoint.
pub fn trained(weights: &TensorFile) -> Option<Config> {
    let json = weights.metadata.get("configuration")?;
    serde_json::from_str::<Settings>(json).ok().map(|settings| settings.network)
}

fn about() -> String {
    format!("The cell: {} [default: that of the weights, or {}]", Cell::names(), Cell::usual())
}

/// What `--activation` is, and what it is where nothing is said.
pub fn about_activation(default: &str) -> String {
    format!("φ of {}: {} [default: {default}]", activated(), Activation::names())
}

/// The cells whose φ can be chosen.
fn activated() -> String {
    Cell::names_with(|cell| cell.has_activation)
}

pub fn named(text: &str) -> std::result::Result<&'static Cell, String> {
    Cell::named(text).ok_or_else(|| format!("there are {}", Cell::names()))
}

pub fn leak(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x <= 1.0 => Ok(x),
        Ok(x) => Err(format!("{x} is not in (0, 1]")),
        Err(error) => Err(error.to_string()),
    }
}

pub fn finite(text: &str) -> std::result::Result<f32, String> {
    match text.parse::<f32>() {
        Ok(x) if x.is_finite() => Ok(x),
        Ok(x) => Err(format!("{x} is not a finite number")),
        Err(error) => Err(error.to_string()),
    }
}
