//! The weights of a PyTorch module: `cargo run --release --example pytorch_weights`.
//!
//! The file was made by these lines of Python:
//!
//! ```python
//! torch.manual_seed(1)
//! rnn, decoder, x = torch.nn.LSTM(3, 8), torch.nn.Linear(8, 2), torch.randn(12, 5, 3)
//! weights = {f"rnn.{name}": w for name, w in rnn.named_parameters()}
//! weights |= {f"decoder.{name}": w for name, w in decoder.named_parameters()}
//! safetensors.torch.save_file({**weights, "inputs": x, "outputs": decoder(rnn(x)[0])}, "pytorch_lstm.safetensors")
//! ```

use ndarray::Ix3;
use retrospect::Result;
use retrospect::backend::Compute;
use retrospect::batch::{Input, Inputs, Loss, Sequences};
use retrospect::cells::Cell;
use retrospect::model::{Config, sizes};
use retrospect::network::Network;
use retrospect::tensors::{TensorFile, Tensors};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pytorch_lstm.safetensors");

/// How far the outputs are from PyTorch's at most.
pub fn difference() -> Result<f32> {
    let (file, tensors) = (TensorFile::open(FILE)?, Tensors::read(FILE)?);
    let cell = Cell::named("lstm").expect("an LSTM");
    let sizes = sizes(&file, cell)?;
    let config = Config {
        cell,
        layers: sizes.layers,
        ..Config::new(Input::Vectors(sizes.inputs), sizes.hidden, sizes.outputs, Loss::SquaredError, 5, 12)
    };
    let mut network = Network::new(&config, &Compute::Cpu(None))?;
    network.load_parameters(&file)?;

    let array = |name: &str| Ok::<_, retrospect::Error>(tensors.f32(name)?.into_dimensionality::<Ix3>().expect("[T, B, ·]"));
    let found = network.predict(&Sequences::new(Inputs::Vectors(array("inputs")?)))?.outputs;
    Ok((found - array("outputs")?).iter().fold(0.0, |most: f32, x| most.max(x.abs())))
}

fn main() -> Result<()> {
    println!("the outputs differ from PyTorch's by {:.1e} at most", difference()?);
    Ok(())
}
