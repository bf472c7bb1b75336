//! A program of one's own on a GPU and on the CPU: `cargo run --release --example own_program`.
//!
//! y = tanh(x·Wᵀ) for three vectors x. A program records steps over windows of buffers, and knows of no device.

use pollster::block_on;
use retrospect::backend::{Adapter, Backend, Cpu, Device, Gpu};
use retrospect::kernels::gemm::{Epilogue, Form, gemm};
use retrospect::kernels::map::activate;
use retrospect::program::Program;
use retrospect::{Activation, Result};

/// The result on the GPU, and on the CPU.
pub fn compute() -> Result<[Vec<f32>; 2]> {
    let mut program = Program::new();
    let weight = program.matrix("W", 4, 2);
    let x = program.matrix("x", 3, 2);
    let sums = program.matrix("x·Wᵀ", 3, 4);
    let y = program.matrix("y", 3, 4);
    gemm(&mut program, Form::NT, x, weight, sums, Epilogue::Store);
    activate(&mut program, Activation::Tanh, sums, y);

    // The best adapter; a software adapter where there is no GPU.
    let device = block_on(Device::open(&block_on(Adapter::find(None))?))?;
    let run = |mut backend: Box<dyn Backend>| {
        backend.write(weight, &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5, -1.0, 0.0])?;
        backend.write(x, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])?;
        backend.run(0..program.len())?;
        backend.read(y)
    };
    Ok([run(Box::new(Gpu::new(&device, &program)?))?, run(Box::new(Cpu::new(&program, None)?))?])
}

fn main() -> Result<()> {
    let [gpu, cpu] = compute()?;
    println!("GPU {gpu:.4?}\nCPU {cpu:.4?}");
    Ok(())
}
