//! The CPU's functions with every set of vector instructions that the processor has: each held to its definition, all of the same bits.

use std::collections::HashMap;
use std::ops::Range;

use retrospect::Result;
use retrospect::backend::{Backend, Cpu, InstructionSet, Ticket};
use retrospect::batch::{Input, Loss, Reduction};
use retrospect::cells::{self, Cell};
use retrospect::check::kernels::check;
use retrospect::check::networks::Case;
use retrospect::kernels::gemm::{Epilogue, Form, NN, NT, NT_BIAS, TN, gemm};
use retrospect::model::{Config, Model, RecurrentInit};
use retrospect::network::Network;
use retrospect::program::{Kernel, Mat, Program};
use retrospect::random::Random;
use retrospect::registry;

/// The same program on a CPU for each set of instructions; what is read must have the same bits on all of them.
struct Widths {
    all: Vec<(InstructionSet, Cpu)>,
    answers: HashMap<Ticket, Vec<f32>>,
}

impl Widths {
    fn new(program: &Program, threads: usize) -> Result<Widths> {
        let load = |set| Ok((set, Cpu::with_instructions(program, Some(threads), set)?));
        let all = InstructionSet::available().into_iter().map(load).collect::<Result<_>>()?;
        Ok(Widths { all, answers: HashMap::new() })
    }
}

impl Backend for Widths {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        self.all.iter_mut().try_for_each(|(_, cpu)| cpu.write(window, values))
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        self.all.iter_mut().try_for_each(|(_, cpu)| cpu.write_indices(window, values))
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        self.all.iter_mut().try_for_each(|(_, cpu)| cpu.run(steps.clone()))
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        let (widest, cpu) = &mut self.all[0];
        let (widest, ticket) = (widest.name(), cpu.request(window)?);
        let values = cpu.take(ticket)?.expect("the CPU answers at once");
        for (set, cpu) in &mut self.all[1..] {
            for (at, (a, b)) in values.iter().zip(cpu.read(window)?).enumerate() {
                // Which of several NaN a sum is depends on which operand comes first.
                let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                assert!(same, "element {at} of {window:?} is {a:e} with {widest} and {b:e} with {}", set.name());
            }
        }
        self.answers.insert(ticket, values);
        Ok(ticket)
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        Ok(self.answers.remove(&ticket))
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn description(&self) -> String {
        format!("{} widths", self.all.len())
    }
}

#[track_caller]
fn hold(kernel: &'static Kernel, sizes: &[[u32; 3]], threads: usize) {
    let outcomes = check(kernel, None, sizes, &mut |program| Ok(Box::new(Widths::new(program, threads)?))).unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed).map(|o| (&o.name, &o.shape, &o.note)).collect();
    assert!(!outcomes.is_empty() && failed.is_empty(), "{failed:#?}");
}

/// Every number of rows of a tile and of vectors of a panel; sums of one block of k, of several, and kept from one stretch of a panel
/// to the next; one thread and three.
#[test]
fn products_have_the_same_bits_at_every_width() {
    for kernel in [&NN, &NT, &TN, &NT_BIAS] {
        let sizes: Vec<[u32; 3]> = (1..=13).map(|m| [m, 1 + 11 * m, 3 + m]).collect();
        hold(kernel, &sizes, 1);
        // Few k; few sums over many k, whose blocks are shared out.
        let sizes = [[130, 70, 1], [257, 33, 2], [300, 1, 16], [64, 16, 3100], [41, 7, 2100]];
        for threads in [1, 3] {
            hold(kernel, &sizes, threads);
            hold(kernel, &[[1, 19, 7], [7, 1, 19], [33, 97, 130], [65, 64, 63], [13, 49, 700], [17, 50, 1500]], threads);
        }
    }
}

#[test]
fn recurrences_have_the_same_bits_at_every_width() {
    let all = [[1, 1, 1], [1, 65, 3], [7, 33, 5], [13, 64, 3], [19, 63, 7], [33, 257, 2], [5, 1100, 2]];
    // The last is shared out by units.
    let few = [[1, 1, 1], [7, 33, 5], [19, 63, 3], [5, 330, 2], [5, 371, 2]];
    // Every number of rows of a product, and of a panel's vectors.
    let tiles: Vec<[u32; 3]> = (1..=9).map(|m| [m, 11 * m, 3]).collect();
    for cell in cells::ALL {
        for kernel in [cell.forward, cell.backward] {
            hold(kernel, &tiles, 1);
            for threads in [1, 3] {
                hold(kernel, if *cell == Cell::usual() { &all } else { &few }, threads);
            }
        }
    }
}

#[test]
fn all_other_kernels_have_the_same_bits_at_every_width() {
    for kernel in registry::kernels() {
        hold(kernel, &[[1, 1, 1], [7, 19, 3], [63, 65, 5]], 2);
    }
}

/// A sum is one chain of fused multiplications and additions over at most 1,024 k, k ascending, at every width.
#[test]
fn a_sum_is_one_chain_over_k() {
    let mut random = Random::new(1, 3);
    for [m, n, k] in [[1 + 7, 19, 1], [13, 65, 130], [6, 48, 1024], [7, 50, 1500]] {
        let mut program = Program::new();
        let (a, b) = (program.matrix("a", m, k), program.matrix("b", k, n));
        let out = program.matrix("out", m, n);
        gemm(&mut program, Form::NN, a, b, out, Epilogue::Store);
        let mut numbers = |len: u32| -> Vec<f32> { (0..len).map(|_| random.uniform_in(-1.0, 1.0)).collect() };
        let (x, y) = (numbers(m * k), numbers(k * n));
        let mut backend = Widths::new(&program, 2).unwrap();
        backend.write(a, &x).unwrap();
        backend.write(b, &y).unwrap();
        backend.run(0..1).unwrap();
        let block = k.div_ceil(k.div_ceil(1024)) as usize;
        let got = backend.read(out).unwrap();
        for (at, got) in got.into_iter().enumerate() {
            let (r, c) = (at / n as usize, at % n as usize);
            let terms: Vec<(f32, f32)> = (0..k as usize).map(|i| (x[r * k as usize + i], y[i * n as usize + c])).collect();
            let chain = |terms: &[(f32, f32)]| terms.iter().fold(0.0f32, |sum, (x, y)| x.mul_add(*y, sum));
            let expected = terms.chunks(block).map(chain).reduce(|sum, block| sum + block).unwrap();
            assert_eq!(got.to_bits(), expected.to_bits(), "{m}×{n}×{k}: [{r}, {c}] is {got:e}, expected {expected:e}");
        }
    }
}

/// What is read of a training step is what all widths agree on: the parameters, the losses and the norms of the gradient.
#[test]
fn training_has_the_same_bits_at_every_width() {
    for (input, loss, [hidden, batch, window]) in
        [(Input::Tokens(19), Loss::CrossEntropy, [65, 19, 7]), (Input::Vectors(7), Loss::SquaredError, [130, 33, 5])]
    {
        let shape = Config::new(input, hidden, 7, loss, batch, window);
        let case = Case { config: Config { layers: 2, clip: Some(0.5), ..shape }, masked: true, reduction: Reduction::Mean };
        let model = Model::new(&case.config).unwrap();
        let backend = Box::new(Widths::new(model.program(), 2).unwrap());
        let mut network = Network::on(model, backend);
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        (0..5).for_each(|step| network.train_step(&case.batch(step), 0.01).unwrap());
        network.fetch().unwrap();
        assert_eq!(network.reports(true).unwrap().len(), 5);
        assert!(!network.parameters().unwrap().is_empty());
    }
}

/// A width that computes something else is seen.
#[test]
fn one_bit_of_one_width_is_seen() {
    let mut program = Program::new();
    let x = program.matrix("x", 3, 5);
    let mut backend = Widths::new(&program, 1).unwrap();
    let mut values = [1.0f32; 15];
    backend.write(x, &values).unwrap();
    assert_eq!(backend.read(x).unwrap(), values);
    values[7] = 1.0f32.next_up();
    let (_, narrowest) = backend.all.last_mut().unwrap();
    narrowest.write(x, &values).unwrap();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| backend.read(x)));
    assert!(seen.is_err() || backend.all.len() == 1);
}
