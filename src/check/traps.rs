//! What an adapter makes of things that give wrong numbers on some: the ones that the kernels rely on are held to what they
//! should be, the others are told. Each is a kernel of one small shader, run by the same backend as the rest.

use bytemuck::{Pod, Zeroable};

use super::{Exact, Outcome};
use crate::Result;
use crate::backend::{Backend, Device, Gpu};
use crate::program::{
    Binding, Kernel, Lowered, Piece, Program, Shader, Step, Variant, View, all_windows, little, scalars, whole,
};
use crate::rounding::{DIVISION, SQUARE_ROOT, TINY, U, logarithm};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Count {
    count: u32,
}

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("out")];

const fn shader(entry: &'static str) -> Shader {
    const SOURCE: &[&str] = &[include_str!("../../shaders/shared/window.wgsl"), include_str!("../../shaders/traps.wgsl")];
    Shader::new(SOURCE, entry, BINDINGS, &["count"])
}

/// out = of(x₀, x₁, x₂) for each column.
fn define(views: &mut [View<f64>], of: impl Fn(f64, f64, f64) -> f64) {
    let [x, out] = views else { unreachable!("two windows") };
    (0..out.cols).for_each(|c| out.set(0, c, of(x.at(0, c), x.at(1, c), x.at(2, c))));
}

macro_rules! probe {
    ($name:ident, $entry:literal, $definition:expr, $bound:expr) => {
        static $name: Kernel = Kernel {
            name: $entry,
            bindings: BINDINGS,
            scalars: &["count"],
            definition: $definition,
            bound: $bound,
            parts: whole,
            is_exact: |_| false,
            cpu: |_, _| unreachable!("of adapters only"),
            variants: &[Variant { name: $entry, shaders: &[shader($entry)], lower, ..Variant::PLAIN }],
            bytes: all_windows,
            working: little,
            runs_beside: |_| true,
            flops: |_| 0,
            sample: |_, _| vec![],
        };
    };
}

fn lower(step: &Step, _: &crate::program::Cuts) -> Lowered {
    // Of the loops that a probe is about the lowering says nothing: some are longer than an adapter allows.
    let grid = [step.windows[1].cols.div_ceil(256), 1, 1];
    let (windows, scalars) = (step.windows.clone(), step.scalars.clone());
    Lowered::once(vec![Piece { shader: 0, windows, scalars, grid, iterations: 1 }])
}

const EXACTLY: fn(&mut [View<f64>], &[u8]) = |views, _| define(views, |_, _, _| 0.0);

probe!(
    LOOPS,
    "loops",
    |views, bytes| {
        let count = f64::from(scalars::<Count>(bytes).count);
        define(views, |x, _, _| count * x);
    },
    EXACTLY
);
probe!(
    REDUCTION,
    "reduction",
    |views, _| {
        let [x, out] = views else { unreachable!("two windows") };
        for c in 0..out.cols {
            let (first, lane) = (c / 256 * 256, c % 4);
            out.set(0, c, (0..64).map(|i| x.at(0, first + 4 * i + lane)).sum());
        }
    },
    EXACTLY
);
probe!(QUOTIENT, "quotient", |views, _| define(views, |x, y, _| x / y), |views, _| define(views, |x, y, _| DIVISION
    * (x / y).abs()
    + TINY));
probe!(ROOT, "root", |views, _| define(views, |x, _, _| x.sqrt()), |views, _| define(views, |x, _, _| SQUARE_ROOT * x.sqrt()));
probe!(LOGARITHM, "logarithm", |views, _| define(views, |x, _, _| x.ln()), |views, _| define(views, |x, _, _| logarithm(x)));
probe!(NAN_BY_BITS, "nan_by_bits", |views, _| define(views, |x, _, _| f64::from(u8::from(x.is_nan()))), EXACTLY);
probe!(NAN_BY_COMPARISON, "nan_by_comparison", |views, _| define(views, |x, _, _| f64::from(u8::from(x.is_nan()))), EXACTLY);
probe!(CLAMPED, "clamped", |views, _| define(views, |x, _, _| x.clamp(-9.0, 9.0)), EXACTLY);
probe!(MAXIMUM, "maximum", |views, _| define(views, |x, _, _| if x < 0.0 { 0.0 } else { x }), EXACTLY);
probe!(TANH, "builtin_tanh", |views, _| define(views, |x, _, _| x.tanh()), EXACTLY);
probe!(PRODUCT, "product", |views, _| define(views, |x, y, _| x * y), EXACTLY);
probe!(PRODUCT_AND_SUM, "product_and_sum", |views, _| define(views, |x, y, z| x * y + z), EXACTLY);
probe!(SUM, "product_and_sum", |views, _| define(views, |x, y, z| x * y + z), |views, _| define(views, |x, y, z| U
    * (x * y + z).abs()));
probe!(BEYOND, "beyond", EXACTLY, EXACTLY);

/// Operands, and what the probe gave for them.
struct Observation {
    x: [Vec<f32>; 3],
    out: Vec<f32>,
}

/// One trap.
struct Trap {
    name: &'static str,
    probe: &'static Kernel,
    count: u32,
    /// Columns of operands.
    operands: fn() -> [Vec<f32>; 3],
    /// Whether the kernels rely on the definition.
    relied_on: bool,
    /// What was seen, in words.
    says: fn(&Observation) -> String,
}

const COLS: usize = 512;

fn each(of: impl Fn(f32) -> f32) -> Vec<f32> {
    (0..COLS).map(|i| of(i as f32)).collect()
}

/// The first operand alone, repeated.
fn alone(values: &[f32]) -> [Vec<f32>; 3] {
    let first = (0..COLS).map(|i| values[i % values.len()]).collect();
    [first, vec![1.0; COLS], vec![0.0; COLS]]
}

/// Numbers all over the place, and of one size for the second.
fn many() -> [Vec<f32>; 3] {
    let x = each(|i| (1.0 + i * 0.618_034 % 1.0) * 2f32.powi((i as i32 * 7) % 60 - 30));
    let y = each(|i| 1.0 + i * 0.414_213_56 % 1.0);
    [x, y, vec![0.0; COLS]]
}

fn nan_or(value: f32) -> [Vec<f32>; 3] {
    alone(&[f32::NAN, value])
}

fn kept(seen: &Observation) -> String {
    if seen.out[0].is_nan() { "NaN stays NaN".into() } else { format!("NaN becomes {:e}", seen.out[0]) }
}

/// The largest error of x / y, in units of the last place, and the mean with its sign.
fn quotient_errors(seen: &Observation) -> (f64, f64) {
    let errors = || {
        seen.out.iter().zip(&seen.x[0]).zip(&seen.x[1]).map(|((&got, &x), &y)| {
            let exact = f64::from(x) / f64::from(y);
            (f64::from(got) - exact) / ulp(exact)
        })
    };
    (errors().fold(0.0, |m, e| m.max(e.abs())), errors().sum::<f64>() / COLS as f64)
}

/// A unit of the last place of the f32 at x.
pub(super) fn ulp(x: f64) -> f64 {
    let x = (x as f32).abs().max(f32::MIN_POSITIVE);
    f64::from(f32::from_bits(x.to_bits() + 1)) - f64::from(x)
}

const TRAPS: &[Trap] = &[
    Trap {
        name: "loops of 30,000 iterations run to their end",
        probe: &LOOPS,
        count: 30_000,
        operands: || alone(&[1.0]),
        relied_on: true,
        says: |seen| format!("{} of 30000", seen.out[0]),
    },
    Trap {
        name: "loops of 100,000 iterations",
        probe: &LOOPS,
        count: 100_000,
        operands: || alone(&[1.0]),
        relied_on: false,
        says: |seen| format!("{} of 100000 were run; no kernel's loop is longer than 30000", seen.out[0]),
    },
    Trap {
        name: "workgroup memory and barriers",
        probe: &REDUCTION,
        count: 0,
        operands: || [each(|i| i * 37.0 % 101.0 - 50.0), vec![0.0; COLS], vec![0.0; COLS]],
        relied_on: true,
        says: |_| "a sum by a tree over 64 invocations".into(),
    },
    Trap {
        name: "sums round to the nearest number",
        probe: &SUM,
        count: 0,
        operands: || [vec![1.0; COLS], vec![1.0; COLS], each(|i| (i / 16.0 - 16.0) * 2f32.powi(-24))],
        relied_on: true,
        says: |_| "not down or towards zero".into(),
    },
    Trap {
        name: "quotients within 2.5 ULP",
        probe: &QUOTIENT,
        count: 0,
        operands: many,
        relied_on: true,
        says: |seen| format!("{:.2} ULP at most", quotient_errors(seen).0),
    },
    Trap {
        name: "square roots within 4.5 ULP",
        probe: &ROOT,
        count: 0,
        operands: many,
        relied_on: true,
        says: |seen| {
            let errors = seen.out.iter().zip(&seen.x[0]).map(|(&got, &x)| {
                let exact = f64::from(x).sqrt();
                (f64::from(got) - exact).abs() / ulp(exact)
            });
            format!("{:.2} ULP at most", errors.fold(0.0, f64::max))
        },
    },
    Trap {
        name: "logarithms within 3 ULP, or 2^-21 around 1",
        probe: &LOGARITHM,
        count: 0,
        operands: many,
        relied_on: true,
        says: |seen| {
            let errors = seen.out.iter().zip(&seen.x[0]).map(|(&got, &x)| (f64::from(got) - f64::from(x).ln()).abs());
            format!("{:.1e} at most", errors.fold(0.0, f64::max))
        },
    },
    Trap {
        name: "NaN is known by its bits",
        probe: &NAN_BY_BITS,
        count: 0,
        operands: || alone(&[f32::NAN, 1.0, f32::INFINITY, -0.0]),
        relied_on: true,
        says: |_| "neither numbers nor infinity are taken for it".into(),
    },
    Trap {
        name: "NaN by comparison, x != x",
        probe: &NAN_BY_COMPARISON,
        count: 0,
        operands: || nan_or(1.0),
        relied_on: false,
        says: |seen| if seen.out[0] == 1.0 { "found here; used nowhere" } else { "never found; used nowhere" }.into(),
    },
    Trap { name: "clamp of NaN", probe: &CLAMPED, count: 0, operands: || nan_or(20.0), relied_on: false, says: kept },
    Trap { name: "max(NaN, 0)", probe: &MAXIMUM, count: 0, operands: || nan_or(-1.0), relied_on: false, says: kept },
    Trap { name: "the logarithm of NaN", probe: &LOGARITHM, count: 0, operands: || nan_or(1.0), relied_on: false, says: kept },
    Trap {
        name: "the builtin tanh of large values",
        probe: &TANH,
        count: 0,
        operands: || alone(&[89.0, -89.0, 1e4, -3e38]),
        relied_on: false,
        says: |seen| format!("tanh(89) = {:e}, tanh(-3e38) = {:e}; used nowhere", seen.out[0], seen.out[3]),
    },
    Trap {
        name: "the builtin tanh of small values",
        probe: &TANH,
        count: 0,
        operands: || alone(&[1e-30, 1e-4]),
        relied_on: false,
        says: |seen| format!("tanh(1e-30) = {:e}; used nowhere", seen.out[0]),
    },
    Trap {
        name: "subnormal numbers",
        probe: &PRODUCT,
        count: 0,
        operands: || [vec![1e-39; COLS], vec![1.0; COLS], vec![0.0; COLS]],
        relied_on: false,
        says: |seen| if seen.out[0] == 0.0 { "count as zero; bounds allow for it" } else { "are kept" }.into(),
    },
    Trap {
        name: "a product and a sum",
        probe: &PRODUCT_AND_SUM,
        count: 0,
        operands: || [vec![1.0 + 2f32.powi(-12); COLS], vec![1.0 + 2f32.powi(-12); COLS], vec![-1.0 - 2f32.powi(-11); COLS]],
        relied_on: false,
        says: |seen| if seen.out[0] == 0.0 { "round twice" } else { "are fused: rounded once" }.into(),
    },
    Trap {
        name: "reads beyond a binding",
        probe: &BEYOND,
        count: 0,
        operands: || alone(&[1.0]),
        relied_on: false,
        says: |seen| format!("give {:e}; no kernel relies on it", seen.out[0]),
    },
];

/// What an adapter makes of every trap.
///
/// # Errors
/// What the device reports.
pub(crate) fn check(device: &Device) -> Result<Vec<Outcome>> {
    TRAPS.iter().map(|trap| Ok(run(device, trap)?.1)).chain([Ok(waiting(device))]).collect()
}

/// How many workgroups may wait for each other here, or why none may.
fn waiting(device: &Device) -> Outcome {
    let note = match device.resident() {
        _ if device.has_waited_in_vain() => "timed out before; none waits on this adapter any more".into(),
        None => "are not relied on; recurrences take a dispatch a time step".into(),
        Some(0) => {
            "may not wait here (RETROSPECT_PERSISTENT=off, or the test of it failed); recurrences take a dispatch a time step"
                .into()
        }
        Some(most) => format!("up to {most} run at the same time; recurrences of more take a dispatch a time step"),
    };
    let name = "trap: workgroups that wait for each other";
    let mut outcome = Outcome::new(name, Some("builtin"), String::new(), "not relied on", 0.0, 0.0, 0.0, vec![]);
    (outcome.error, outcome.bound, outcome.note) = (None, None, Some(note));
    outcome
}

/// The mean error of x / y, in units of the last place, with its sign: 0 where quotients are rounded correctly.
///
/// # Errors
/// What the device reports.
pub(super) fn quotient_bias(device: &Device) -> Result<f64> {
    let trap = TRAPS.iter().find(|trap| std::ptr::eq(trap.probe, &QUOTIENT)).expect("a trap of quotients");
    Ok(quotient_errors(&run(device, trap)?.0).1)
}

fn run(device: &Device, trap: &Trap) -> Result<(Observation, Outcome)> {
    let mut program = Program::new();
    let (x, out) = (program.matrix("x", 3, COLS as u32), program.matrix("out", 1, COLS as u32));
    program.push(trap.probe, &[x, out], Count { count: trap.count });
    let mut gpu = Gpu::new(device, &program)?;
    let operands = (trap.operands)();
    gpu.write(x, &operands.concat())?;
    gpu.run(0..1)?;
    let seen = Observation { x: operands, out: gpu.read(out)? };
    let note = (trap.says)(&seen);
    let name = format!("trap: {}", trap.name);
    if !trap.relied_on {
        let mut outcome = Outcome::new(name, Some("builtin"), String::new(), "not relied on", 0.0, 0.0, 0.0, vec![]);
        (outcome.error, outcome.bound, outcome.note) = (None, None, Some(note));
        return Ok((seen, outcome));
    }
    let mut exact = Exact::new(&program);
    exact.write(x, &seen.x.concat())?;
    let found = exact.compare(0, false, None, |_| Ok(seen.out.clone()))?;
    let mut outcome = Outcome::from_deviations(name, Some("builtin"), format!("{COLS} values"), "definition", found);
    outcome.note = Some(outcome.note.map_or(note.clone(), |failure| format!("{note}; {failure}")));
    Ok((seen, outcome))
}
