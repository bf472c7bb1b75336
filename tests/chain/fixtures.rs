//! Reads `tests/fixtures`: what PyTorch computed in f64 for small networks (written by `scripts/pytorch_fixtures.py`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ndarray::{Array, Array3, ArrayD, Dimension};
use retrospect::batch::{Batch, InitialState, Inputs, Reduction, States, Targets};
use retrospect::program::Shader;
use retrospect::reference::{Cell, Weights};
use safetensors::{Dtype, SafeTensors};

/// One network, one batch and PyTorch's answer.
pub struct Fixture {
    /// The file's name without its extension.
    pub name: String,
    /// The cell, with its activation.
    pub cell: Cell,
    /// Multiples of 2^-12, exact in f32 too, and so are the sums of the two biases.
    pub weights: Weights,
    /// The batch.
    pub batch: Batch,
    /// `loss` `[1]`, `outputs` `[T, B, O]`, and the gradient by `h0`, by `c0` of an LSTM, and by each weight under PyTorch's name.
    pub gradient: BTreeMap<String, ArrayD<f64>>,
    /// Where sequences have lengths, the states after the last step of each.
    pub last: BTreeMap<String, Array3<f64>>,
}

/// Every fixture in the folder, by name.
///
/// # Panics
/// If a file cannot be read or has fewer tensors than it should.
pub fn load_all() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<_> = folder.read_dir().expect("tests/fixtures").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    paths.iter().map(|path| load(path)).collect()
}

/// The tensors of a file, and its metadata.
pub fn read(path: &Path) -> (BTreeMap<String, ArrayD<f64>>, HashMap<String, String>) {
    let bytes = std::fs::read(path).expect("a readable fixture");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
    let metadata = header.metadata().clone().expect("metadata");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    (file.iter().map(|(name, view)| (name.to_string(), values(&view))).collect(), metadata)
}

fn load(path: &Path) -> Fixture {
    let (mut tensors, metadata) = read(path);
    let activation = metadata.get("activation").map_or("tanh", String::as_str);
    let cell = Cell::named(&metadata["cell"], activation).expect("a cell");
    let weights = Weights::new(&cell, |name| Ok(tensors.remove(&format!("weights.{name}")))).expect("weights of the cell");
    let single = |v: f64| v as f32;
    let given = cell.states.iter().filter(|name| tensors.contains_key(&format!("batch.{name}0"))).collect::<Vec<_>>();
    let states: States =
        given.iter().map(|name| (name.to_string(), take(&mut tensors, &format!("batch.{name}0")).mapv(single))).collect();
    let id = |v: f64| v as u32;
    let batch = Batch {
        inputs: match tensors.contains_key("batch.tokens") {
            true => Inputs::Tokens(take(&mut tensors, "batch.tokens").mapv(id)),
            false => Inputs::Vectors(take(&mut tensors, "batch.inputs").mapv(single)),
        },
        targets: match tensors.contains_key("batch.classes") {
            true => Targets::Classes(take(&mut tensors, "batch.classes").mapv(id)),
            false => Targets::Values(take(&mut tensors, "batch.values").mapv(single)),
        },
        mask: tensors.contains_key("batch.mask").then(|| take(&mut tensors, "batch.mask").mapv(single)),
        lengths: tensors.remove("batch.lengths").map(|lengths| lengths.iter().map(|&length| length as usize).collect()),
        reduction: match metadata["reduction"].as_str() {
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            other => panic!("reduction {other}"),
        },
        class_weights: tensors.remove("batch.class_weights").map(|weights| weights.iter().map(|&w| single(w)).collect()),
        deviations: None,
        initial_state: match states.is_empty() {
            false => InitialState::Given(states),
            true => InitialState::Zero,
        },
    };
    let mut last = BTreeMap::new();
    for &name in cell.states {
        if tensors.contains_key(&format!("last.{name}")) {
            last.insert(name.to_owned(), take(&mut tensors, &format!("last.{name}")));
        }
    }
    let gradient = tensors
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix("gradient.").expect("all else was taken").to_string(), tensor))
        .collect();
    let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
    Fixture { name, cell, weights, batch, gradient, last }
}

fn take<D: Dimension>(tensors: &mut BTreeMap<String, ArrayD<f64>>, name: &str) -> Array<f64, D> {
    let tensor = tensors.remove(name).unwrap_or_else(|| panic!("there is no {name}"));
    tensor.into_dimensionality().unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// f64 holds every value exactly: f32, and the small integers that stand for tokens and classes.
fn values(view: &safetensors::tensor::TensorView<'_>) -> ArrayD<f64> {
    let chunks = |size| view.data().chunks_exact(size);
    let values = match view.dtype() {
        Dtype::F64 => chunks(8).map(|c| f64::from_le_bytes(c.try_into().expect("8 bytes"))).collect(),
        Dtype::F32 => chunks(4).map(|c| f64::from(f32::from_le_bytes(c.try_into().expect("4 bytes")))).collect(),
        Dtype::I64 => chunks(8).map(|c| i64::from_le_bytes(c.try_into().expect("8 bytes")) as f64).collect(),
        other => panic!("no fixture holds {other:?}"),
    };
    ArrayD::from_shape_vec(view.shape(), values).expect("a tensor of its own shape")
}

/// A shader with another text.
pub fn with_text(shader: &Shader, text: &'static str) -> Shader {
    Shader::new(vec![text].leak(), shader.entry, shader.bindings, shader.scalars)
}
