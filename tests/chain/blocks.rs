//! Weights too large to be on the host at once: they pass between files, the host and devices a block of rows at a time.

use retrospect::backend::Compute;
use retrospect::backend::Device;
use retrospect::batch::{Input, Loss};
use retrospect::model::{Config, NamedArrays, Optimizer, RecurrentInit, initial};
use retrospect::network::Network;
use retrospect::tensors::{TensorFile, Tensors};

use super::device::device;

/// Weights of more than a block and of several sections of a small adapter: initial ones, those of a file and those set are where they
/// should be, and come back as they were. With tokens the first weight lies transposed.
#[test]
fn large_weights_pass_in_blocks() {
    let adapter = &device().adapter;
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 21, max_buffer_size: 1 << 22, ..adapter.limits() };
    let small = pollster::block_on(Device::open_with_limits(adapter, limits)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for init in [RecurrentInit::Uniform, RecurrentInit::Identity] {
        let config = Config { optimizer: Optimizer::Sgd, ..Config::new(Input::Tokens(2051), 2053, 2, Loss::CrossEntropy, 1, 1) };
        let expected = initial(&config, 3, init).unwrap();
        let path = folder.path().join("weights");
        let mut tensors = Tensors::new();
        expected.iter().for_each(|(name, array)| tensors.insert(name.clone(), array.clone()));
        tensors.write(&path).unwrap();
        for compute in [Compute::Cpu(Some(1)), Compute::Gpu(small.clone())] {
            let mut network = Network::new(&config, &compute).unwrap();
            network.initialise(3, init).unwrap();
            assert!(network.parameters().unwrap() == expected, "initialised");
            for change in [0, 1] {
                let other: NamedArrays = expected.iter().map(|(name, array)| (name.clone(), array.mapv(|v| v + 1.0))).collect();
                network.set_parameters(&other).unwrap();
                assert!(network.parameters().unwrap() == other, "set");
                match change {
                    0 => network.load_parameters(&TensorFile::open(&path).unwrap()).unwrap(),
                    _ => network.set_parameters(&expected).unwrap(),
                }
                assert!(network.parameters().unwrap() == expected, "loaded");
            }
        }
    }
}
