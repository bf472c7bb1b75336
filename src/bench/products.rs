//! Products of square matrices alone, in the three forms of training: what other libraries are measured by too.

use std::time::Instant;

use serde::Serialize;

use super::{Contender, RUN, median};
use crate::backend::Backend;
use crate::backend::Compute;
use crate::kernels::gemm::{Epilogue, Form, gemm};
use crate::program::{Mat, Program};
use crate::random::Random;
use crate::rounding::Terms;
use crate::{Error, Result};

/// The products of a benchmark.
pub struct Products {
    /// The sizes n of the n × n matrices.
    pub sizes: Vec<usize>,
    /// Runs of each, of which the median counts.
    pub runs: usize,
}

/// A product of two n × n matrices on a contender.
#[derive(Debug, Clone, Serialize)]
pub struct Product {
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// `nn`: a·b; `nt`: a·bᵀ; `tn`: aᵀ·b.
    pub form: &'static str,
    /// n.
    pub size: usize,
    /// What numbers are computed in.
    pub precision: &'static str,
    /// The times, unless there are none.
    #[serde(flatten)]
    pub timed: Option<Timed>,
    /// Why there are none: it does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was measured of a product.
#[derive(Debug, Clone, Serialize)]
pub struct Timed {
    /// The variant; `cpu` for the CPU's function.
    pub variant: &'static str,
    /// The median over the runs, in milliseconds of wall time.
    pub ms: f64,
    /// The fastest run.
    pub ms_min: f64,
    /// The slowest run.
    pub ms_max: f64,
    /// The number of runs.
    pub runs: usize,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// Those over what the machine multiplies and adds at most.
    pub peak_fraction: f64,
}

const FORMS: [(Form, &str); 3] = [(Form::NN, "nn"), (Form::NT, "nt"), (Form::TN, "tn")];
/// A program has the product so often, so that a submission weighs little beside those of a small size.
const REPEATED: usize = 32;

/// Times every size in every form on the contenders in turn. What does not fit is a row that says so.
///
/// # Errors
/// What the backends report, and a result that is further from the definition than rounding takes it.
pub(super) fn run(
    products: &Products,
    contenders: &[Contender],
    prepare: &mut dyn FnMut(&mut Compute, &Program) -> Result<()>,
    hear: &mut dyn FnMut(&str),
) -> Result<Vec<Product>> {
    let mut rows = Vec::new();
    for &size in &products.sizes {
        for (form, name) in FORMS {
            hear(&format!("the product of {size} × {size}, {name}"));
            let mut runners = Vec::new();
            for contender in contenders {
                let row = Product { backend: contender.backend, form: name, size, precision: "f32", timed: None, error: None };
                match Runner::new(contender, form, size, prepare) {
                    Ok(runner) => runners.push((runner, row)),
                    Err(error @ Error::DoesNotFit { .. }) => rows.push(Product { error: Some(error.to_string()), ..row }),
                    Err(error) => return Err(error),
                }
            }
            for _ in 0..products.runs {
                for (runner, _) in &mut runners {
                    runner.measure()?;
                }
            }
            rows.extend(runners.into_iter().map(|(runner, row)| Product { timed: Some(runner.timed(size)), ..row }));
        }
    }
    Ok(rows)
}

/// A product that is being timed.
struct Runner<'a> {
    contender: &'a Contender,
    backend: Box<dyn Backend>,
    /// Products of a run.
    count: usize,
    /// Seconds of a product, for each run.
    seconds: Vec<f64>,
}

impl<'a> Runner<'a> {
    /// Warmed up, after its result was held to the definition.
    fn new(
        contender: &'a Contender,
        form: Form,
        size: usize,
        prepare: &mut dyn FnMut(&mut Compute, &Program) -> Result<()>,
    ) -> Result<Runner<'a>> {
        let (program, [a, b, out]) = record(form, size)?;
        let mut compute = contender.compute().clone();
        prepare(&mut compute, &program)?;
        let mut backend = compute.load(&program)?;
        let [x, y] = [(a, 0), (b, 1)].map(|(window, stream)| numbers(window, stream));
        backend.write(a, &x)?;
        backend.write(b, &y)?;
        backend.run(0..1)?;
        hold(form, size, [&x, &y, &backend.read(out)?])?;
        let mut runner = Runner { contender, backend, count: 1, seconds: Vec::new() };
        // As much work as a run has, so that the clocks are up.
        while runner.go()? * (runner.count as f64) < RUN {
            runner.count *= 2;
        }
        Ok(runner)
    }

    /// The seconds of a product of a run.
    fn go(&mut self) -> Result<f64> {
        let start = Instant::now();
        for first in (0..self.count).step_by(REPEATED) {
            self.backend.run(0..REPEATED.min(self.count - first))?;
        }
        self.backend.wait()?;
        Ok(start.elapsed().as_secs_f64() / self.count as f64)
    }

    fn measure(&mut self) -> Result<()> {
        // While the others ran it was idle.
        self.contender.warm(|| self.backend.run(0..1).and_then(|()| self.backend.wait()))?;
        let seconds = self.go()?;
        self.seconds.push(seconds);
        Ok(())
    }

    fn timed(self, size: usize) -> Timed {
        let ms = |seconds: f64| seconds * 1e3;
        let gflops = 2.0 * (size as f64).powi(3) / median(self.seconds.clone()) / 1e9;
        Timed {
            variant: self.backend.variant(0).unwrap_or("cpu"),
            ms: ms(median(self.seconds.clone())),
            ms_min: ms(self.seconds.iter().copied().fold(f64::INFINITY, f64::min)),
            ms_max: ms(self.seconds.iter().copied().fold(0.0, f64::max)),
            runs: self.seconds.len(),
            gflops,
            peak_fraction: gflops / self.contender.ceilings.gflops,
        }
    }
}

/// A program that has the same product several times, and its windows a, b and out.
fn record(form: Form, size: usize) -> Result<(Program, [Mat; 3])> {
    let too_large = |_| Error::Usage(format!("a product of {size} × {size}: a matrix has at most {} rows", u32::MAX));
    let n = u32::try_from(size).map_err(too_large)?;
    let mut program = Program::new();
    let windows = ["a", "b", "out"].map(|name| program.matrix(name, n, n));
    let [a, b, out] = windows;
    (0..REPEATED).for_each(|_| gemm(&mut program, form, a, b, out, Epilogue::Store));
    Ok((program, windows))
}

fn numbers(window: Mat, stream: u64) -> Vec<f32> {
    let mut random = Random::new(1, stream);
    (0..window.len()).map(|_| random.uniform_in(-1.0, 1.0)).collect()
}

/// Holds elements of a result to the definition in f64: one in every row, and in every 128 rows some in each 128 columns, so that
/// each tile is looked at.
fn hold(form: Form, n: usize, [a, b, out]: [&[f32]; 3]) -> Result<()> {
    for row in 0..n {
        let col = (37 * row + 3) % n;
        let (mut expected, mut terms) = (0.0, Terms::default());
        for k in 0..n {
            let x = f64::from(if form == Form::TN { a[k * n + row] } else { a[row * n + k] });
            let w = f64::from(if form == Form::NT { b[col * n + k] } else { b[k * n + col] });
            expected += x * w;
            terms.product(x, w);
        }
        let (got, bound) = (f64::from(out[row * n + col]), terms.of_products());
        let off = (got - expected).abs();
        if off.is_nan() || off > bound {
            return Err(Error::Device {
                what: format!("to be timed: {form:?} product of {n} × {n}"),
                message: format!("out[{row}, {col}] is {got:e}, expected {expected:e}: off by {off:.2e}, at most {bound:.2e}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Ceilings;

    /// Of every form at odd sizes; and an operand that is not turned, a tile that is missing and a number that is none are seen.
    #[test]
    fn what_is_timed_is_the_product() {
        let ceilings = Ceilings { gflops: 100.0, gb_per_s: 10.0, dispatch_us: None };
        let contender = Contender::with_ceilings(Compute::Cpu(Some(1)), ceilings);
        for (form, name) in FORMS {
            for size in [1, 7, 65] {
                let runner = Runner::new(&contender, form, size, &mut |_, _| Ok(())).unwrap();
                assert!(runner.count > REPEATED, "{name}, {size}");
            }
            let (program, [a, b, out]) = record(form, 300).unwrap();
            let [x, y] = [numbers(a, 0), numbers(b, 1)];
            let mut backend = contender.compute().load(&program).unwrap();
            backend.write(a, &x).unwrap();
            backend.write(b, &y).unwrap();
            backend.run(0..1).unwrap();
            let right = backend.read(out).unwrap();
            hold(form, 300, [&x, &y, &right]).unwrap();
            for (other, _) in FORMS.into_iter().filter(|(other, _)| *other != form) {
                assert!(hold(other, 300, [&x, &y, &right]).is_err(), "{name} for {other:?}");
            }
            for (first, wrong) in [(0, 0.0), (128 * 300 + 128, 0.0), (256 * 300 + 256, f32::NAN)] {
                let mut result = right.clone();
                for row in (first..right.len()).step_by(300).take(128) {
                    result[row..(row + 128).min((row / 300 + 1) * 300)].fill(wrong);
                }
                let said = hold(form, 300, [&x, &y, &result]).unwrap_err().to_string();
                assert!(said.contains("expected"), "{said}");
            }
        }
    }

    #[test]
    fn every_size_and_form_is_a_row_of_each_contender() {
        let ceilings = Ceilings { gflops: 100.0, gb_per_s: 10.0, dispatch_us: None };
        let contenders = [1, 2].map(|threads| Contender::with_ceilings(Compute::Cpu(Some(threads)), ceilings));
        let mut heard = 0;
        let products = Products { sizes: vec![5, 33], runs: 2 };
        let rows = run(&products, &contenders, &mut |_, _| Ok(()), &mut |_| heard += 1).unwrap();
        let found: Vec<_> = rows.iter().map(|row| (row.size, row.form)).collect();
        let sizes = [5, 33].map(|n| ["nn", "nt", "tn"].map(|form| [(n, form); 2]).concat());
        assert_eq!((found, heard), (sizes.concat(), 6));
        for row in rows {
            let timed = row.timed.unwrap();
            assert!(timed.ms_min <= timed.ms && timed.ms <= timed.ms_max && timed.runs == 2 && timed.variant == "cpu");
            let flops = 2.0 * (row.size as f64).powi(3);
            approx::assert_relative_eq!(timed.gflops * timed.ms, flops / 1e6, max_relative = 1e-9);
            approx::assert_relative_eq!(timed.peak_fraction, timed.gflops / 100.0, max_relative = 1e-9);
        }
    }
}
