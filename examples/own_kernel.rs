//! A kernel of one's own: `cargo run --release --example own_kernel`.
//!
//! out = x where x > 0, and slope·x elsewhere: its definition in f64, a bound for rounding, a function for the CPU, and a shader. The check of
//! this crate compares them, on the GPU and on the CPU.

use bytemuck::{Pod, Zeroable};
use pollster::block_on;
use retrospect::Result;
use retrospect::backend::{Adapter, Device};
use retrospect::check::{Outcome, kernels};
use retrospect::kernels::WINDOW;
use retrospect::program::{
    Binding, Kernel, Lowered, Mat, Piece, Program, Shader, Variant, View, all_windows, little, scalars, whole,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Slope {
    slope: f32,
}

/// Records the step.
fn leaky_relu(program: &mut Program, slope: f32, x: Mat, out: Mat) {
    assert_eq!((x.rows(), x.cols()), (out.rows(), out.cols()));
    program.push(&LEAKY_RELU, &[x, out], Slope { slope });
}

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("out")];

static LEAKY_RELU: Kernel = Kernel {
    name: "leaky_relu",
    bindings: BINDINGS,
    scalars: &["slope"],
    definition: |views, bytes| {
        let [x, out] = views else { unreachable!("two windows") };
        each(out, |r, c| value(f64::from(scalars::<Slope>(bytes).slope), x.at(r, c)));
    },
    // One rounding of a product, and a GPU may take numbers below the normal ones as zero.
    bound: |views, bytes| {
        let [x, out] = views else { unreachable!("two windows") };
        let slope = f64::from(scalars::<Slope>(bytes).slope);
        each(out, |r, c| value(slope, x.at(r, c)).abs() * 0.5f64.powi(24) + f64::from(f32::MIN_POSITIVE));
    },
    parts: whole,
    is_exact: |_| false,
    cpu: |views, bytes| {
        let [x, out] = views else { unreachable!("two windows") };
        let slope = scalars::<Slope>(bytes).slope;
        each(out, |r, c| if x.at(r, c) > 0.0 { x.at(r, c) } else { slope * x.at(r, c) });
    },
    variants: &[Variant {
        name: "rows",
        can: |step, cuts| step.windows.iter().all(|window| cuts.fits(window) && window.rows() / 8 < cuts.workgroups),
        shaders: &[Shader::new(&[WINDOW, WGSL], "main", BINDINGS, &["slope"])],
        lower: |step, _| {
            let grid = [step.windows[1].cols().div_ceil(32), step.windows[1].rows().div_ceil(8), 1];
            let (windows, scalars) = (step.windows.clone(), step.scalars.clone());
            Lowered::once(vec![Piece { shader: 0, windows, scalars, grid, iterations: 1 }])
        },
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| step.windows[0].len() as u64,
    sample: |program, [m, n, _]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", m, n));
        leaky_relu(program, 0.3, x, out);
        vec![]
    },
};

/// An invocation computes four columns of a row.
const WGSL: &str = "
struct Params { x: Window, out: Window, slope: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = 4u * id.x;
    if id.y < params.out.rows && col < params.out.cols {
        let value = x[at(params.x, id.y, col)];
        out[at(params.out, id.y, col)] = select(params.slope * value, value, value > vec4<f32>());
    }
}
";

fn value(slope: f64, x: f64) -> f64 {
    if x > 0.0 { x } else { slope * x }
}

fn each<T: Copy>(out: &mut View<T>, value: impl Fn(usize, usize) -> T) {
    (0..out.rows).for_each(|r| (0..out.cols).for_each(|c| out.set(r, c, value(r, c))));
}

/// What the check says of it on the GPU, or a software adapter, and on the CPU.
pub fn check() -> Result<Vec<Outcome>> {
    let device = block_on(Device::open(&block_on(Adapter::find(None))?))?;
    let sizes = kernels::sizes(true);
    let mut outcomes = kernels::on_cpu(&LEAKY_RELU, &sizes, None)?;
    outcomes.extend(kernels::on_gpu(&LEAKY_RELU, &LEAKY_RELU.variants[0], &sizes, &device)?);
    Ok(outcomes)
}

fn main() -> Result<()> {
    let outcomes = check()?;
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
    println!("{} of {} checks passed", outcomes.len() - failed.len(), outcomes.len());
    failed.iter().for_each(|outcome| println!("{}, {}: {:?}", outcome.variant, outcome.shape, outcome.note));
    Ok(())
}
