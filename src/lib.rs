//! Recurrent neural networks, trained on any GPU through wgpu and WGSL, or on the CPU, by one recorded program.
//!
//! Layers of Elman, leaky, GRU or LSTM cells ([`cells`]), o_t = V·h_t + c, L = Σ_t L^(t), and the gradient by backpropagation through time.
//!
//! # Training
//!
//! A [`network::Network`] is a network on a backend: it takes batches made from `ndarray` arrays and gives losses, gradients and
//! hidden states back as arrays.
//!
//! ```
//! use ndarray::{Array2, Array3};
//! use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
//! use retrospect::model::{Config, RecurrentInit};
//! use retrospect::backend::Compute;
//! use retrospect::network::Network;
//!
//! // 8 sequences of 20 steps of one number each; at each step, whether the sum so far is positive.
//! let x = Array3::from_shape_fn((20, 8, 1), |(t, b, _)| ((t * 7 + b * 5) % 11) as f32 / 5.0 - 1.0);
//! let y = Array2::from_shape_fn((20, 8), |(t, b)| u32::from((0..=t).map(|s| x[[s, b, 0]]).sum::<f32>() > 0.0));
//! let batch = Batch::new(Inputs::Vectors(x), Targets::Classes(y));
//!
//! let config = Config::new(Input::Vectors(1), 32, 2, Loss::CrossEntropy, 8, 20);
//! let mut network = Network::new(&config, &Compute::Cpu(None))?;
//! network.initialise(1, RecurrentInit::Uniform)?;
//! for _ in 0..200 {
//!     network.train_step(&batch, 0.01)?;
//! }
//! assert!(network.loss(&batch)? < 0.1);
//!
//! let gradient = network.gradient(&batch)?.parameters;
//! assert_eq!(gradient["rnn.weight_hh_l0"].shape(), [32, 32]);
//! assert_eq!(network.hidden(0)?.dim(), (20, 8, 32));
//! # Ok::<(), retrospect::Error>(())
//! ```
//!
//! # Computing something else
//!
//! The backends run any [`program::Program`] recorded from the [`kernels`]. Here tanh(W·x) for three vectors x, on a GPU and on
//! the CPU:
//!
//! ```
//! use pollster::block_on;
//! use retrospect::Activation;
//! use retrospect::backend::{Adapter, Backend, Cpu, Device, Gpu};
//! use retrospect::kernels::gemm::{Epilogue, Form, gemm};
//! use retrospect::kernels::map::activate;
//! use retrospect::program::Program;
//!
//! let mut program = Program::new();
//! let weight = program.matrix("W", 4, 2);
//! let x = program.matrix("x", 3, 2);
//! let sums = program.matrix("W·x", 3, 4);
//! let y = program.matrix("y", 3, 4);
//! gemm(&mut program, Form::NT, x, weight, sums, Epilogue::Store);
//! activate(&mut program, Activation::Tanh, sums, y);
//!
//! let device = block_on(Device::open(&block_on(Adapter::find(None))?))?;
//! let backends: [Box<dyn Backend>; 2] = [Box::new(Gpu::new(&device, &program)?), Box::new(Cpu::new(&program, None)?)];
//! for mut backend in backends {
//!     backend.write(weight, &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5, -1.0, 0.0])?;
//!     backend.write(x, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])?;
//!     backend.run(0..program.len())?;
//!     let y = backend.read(y)?;
//!     assert!((y[1] - 0.2_f32.tanh()).abs() < 1e-6 && (y[11] + 0.5_f32.tanh()).abs() < 1e-6);
//! }
//! # Ok::<(), retrospect::Error>(())
//! ```
//!
//! # What is where
//!
//! | module | holds |
//! |---|---|
//! | [`program`] | buffers, windows, kernels, steps |
//! | [`kernels`] | each contract with its definition, CPU function and WGSL variants |
//! | [`cells`] | what a recurrence is made of: the pointwise part of a unit |
//! | [`model`] | a network's configuration, its parameters, and the program it records |
//! | [`backend`] | [`backend::Cpu`] and [`backend::Gpu`], which run programs |
//! | [`network`] | networks on backends: fed, trained, read back |
//! | [`flow`] | what becomes of a gradient on its way back through time |
//! | [`trace`] | when each step ran, as a file |
//! | [`train`] | runs and checkpoints |
//! | [`ranks`] | processes or threads that train one network together |
//! | [`tune`](mod@tune) | which variant is the fastest on an adapter |
//! | [`data`] | where batches come from |
//! | [`table`](mod@table) | files of rows and columns: CSV |
//! | [`tensors`] | files of tensors: safetensors, NumPy's |
//! | [`memory`] | whether there is room for something |
//! | [`reference`](mod@reference) | the same network and gradient in f64, sharing nothing with the rest |
//! | [`bench`](mod@bench) | how fast training steps are, next to what the machine can do at most |
//! | [`study`](mod@study) | what activations do to gradients through time |
//! | [`check`](mod@check) | everything above held against everything below: the proof on one's own adapter |

#![deny(unsafe_code, missing_docs)]

pub mod activation;
pub mod backend;
pub mod batch;
pub mod bench;
mod blocks;
pub mod cells;
pub mod check;
pub mod data;
mod error;
pub mod flow;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod network;
mod numbers;
pub mod program;
pub mod random;
pub mod ranks;
pub mod reference;
pub mod registry;
mod rounding;
mod simd;
pub mod study;
pub mod table;
pub mod tensors;
pub mod trace;
pub mod train;
pub mod tune;
mod whole_file;

pub use activation::Activation;
pub use error::{Error, Result};
pub use whole_file::WholeFile;

/// The examples of the documents are tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
