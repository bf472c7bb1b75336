//! Networks of large hidden sizes, lowered for GPUs that are not here: recording and lowering a program allocates none of its buffers. Every
//! variant of every step is cut into pieces whose windows a GPU can bind, whose grids and loops it allows, and which cover what the step is
//! about.

use std::collections::BTreeMap;

use retrospect::Activation;
use retrospect::batch::{Input, Loss};
use retrospect::model::{Config, Model, Optimizer};
use retrospect::program::{Access, Cuts, Lowered, Mat, Phase, Piece, Step, Variant};

const WORKGROUPS: u32 = 65_535;
const ITERATIONS: u32 = 30_000;
/// 2³¹ − 4 bytes, less an alignment of 256, in elements: what NVIDIA's adapters bind under wgpu.
const BINDING: u64 = ((1 << 31) - 4) / 4 / 4 * 4 - 64;

/// The limits of a GPU with so large buffers, in bytes.
fn cuts(buffer: u64, model: &Model) -> Cuts {
    Cuts::new(BINDING.min(buffer / 4 - 64), buffer / 16 * 4, WORKGROUPS, ITERATIONS).for_program(model.program())
}

/// Rows and columns from one window's start that another of the same buffer lies at.
fn place(of: &Mat, stride: u64, in_: &Mat) -> Option<[u64; 4]> {
    let from = of.offset().checked_sub(in_.offset())?;
    let (row, col) = (from / stride, from % stride);
    let inside = col < u64::from(in_.cols()) && row < u64::from(in_.rows());
    inside.then_some([row, row + u64::from(of.rows()), col, col + u64::from(of.cols())])
}

/// The elements from one row of a window to the next.
fn stride(window: &Mat) -> u64 {
    match window.rows() {
        1 => u64::MAX,
        _ => window.slice_rows(1..2).offset() - window.offset(),
    }
}

/// Whether rectangles cover a window, and how many elements they have in all.
fn coverage(window: &Mat, rectangles: &[[u64; 4]]) -> (bool, u128) {
    let mut edges: Vec<u64> = rectangles.iter().flat_map(|[_, _, from, to]| [*from, *to]).collect();
    edges.sort_unstable();
    edges.dedup();
    let ends = (edges.first(), edges.last()) == (Some(&0), Some(&u64::from(window.cols())));
    let covered = edges.windows(2).all(|strip| {
        let mut rows: Vec<[u64; 2]> =
            rectangles.iter().filter(|r| r[2] <= strip[0] && strip[1] <= r[3]).map(|r| [r[0], r[1]]).collect();
        rows.sort_unstable();
        let reached = rows.iter().try_fold(0u64, |end, [from, to]| (*from <= end).then(|| end.max(*to)));
        reached == Some(u64::from(window.rows()))
    });
    let area = |[top, bottom, left, right]: &[u64; 4]| u128::from(bottom - top) * u128::from(right - left);
    (ends && covered, rectangles.iter().map(area).sum())
}

fn pieces(lowered: &Lowered) -> impl Iterator<Item = &Piece> {
    lowered.phases.iter().flat_map(|phase| &phase.pieces)
}

/// The windows of a step's pieces into one of its own, as places in it.
fn places(step: &Step, lowered: &Lowered, index: usize) -> Vec<[u64; 4]> {
    let whole = step.windows[index];
    let of = |piece: &Piece| {
        let windows: Vec<_> = piece.windows.iter().filter(|w| w.buffer() == whole.buffer()).collect();
        windows.into_iter().filter_map(|w| place(w, stride(&whole), &whole)).collect::<Vec<_>>()
    };
    let mut all: Vec<[u64; 4]> = pieces(lowered).flat_map(of).collect();
    // One binding of an arena may have the windows of others in it as well.
    all.retain(|[_, bottom, _, right]| *bottom <= u64::from(whole.rows()) && *right <= u64::from(whole.cols()));
    all
}

/// [`coverage`] of what a step carries, its last rows and its first.
fn carried(step: &Step, rectangles: &[[u64; 4]]) -> (bool, u128) {
    let (hidden, rows) = (step.windows[0], step.scalars::<u32>());
    let of = |from: u32| {
        let (from, to) = (u64::from(from), u64::from(from + rows));
        let within = |r: &[u64; 4]| [r[0].clamp(from, to) - from, r[1].clamp(from, to) - from, r[2], r[3]];
        coverage(&hidden.slice_rows(0..rows), &rectangles.iter().map(within).collect::<Vec<_>>())
    };
    let [(first, a), (last, b)] = [of(0), of(hidden.rows() - rows)];
    (first && last, a + b)
}

/// Kernels whose pieces write each element once.
const ONCE: [&str; 7] = ["fill", "copy", "transpose", "sgd", "momentum", "adam", "value_loss"];

/// What is wrong with a lowering.
fn fault(step: &Step, lowered: &Lowered, cuts: &Cuts) -> Option<String> {
    for piece in pieces(lowered) {
        if let Some(window) = piece.windows.iter().find(|w| !cuts.fits(w)) {
            return Some(format!("{window:?} is no binding"));
        }
        if piece.grid.iter().any(|n| *n == 0 || *n > WORKGROUPS) {
            return Some(format!("a grid of {:?}", piece.grid));
        }
        if piece.iterations > ITERATIONS {
            return Some(format!("{} iterations", piece.iterations));
        }
    }
    let (kernel, windows) = (step.kernel.name, &step.windows);
    for (index, window) in windows.iter().enumerate() {
        let (covered, area) = match kernel {
            "carry" => carried(step, &places(step, lowered, index)),
            _ => coverage(window, &places(step, lowered, index)),
        };
        let written = step.kernel.bindings[index].access != Access::Read;
        if !covered {
            return Some(format!("{} is not covered", step.kernel.bindings[index].name));
        }
        if written && ONCE.contains(&kernel) && area != window.len() as u128 {
            return Some(format!("{area} of {} elements of {} written", window.len(), step.kernel.bindings[index].name));
        }
    }
    work(step, lowered)
}

/// Of a product or a recurrence: whether the multiplications of all pieces are those of the step.
fn work(step: &Step, lowered: &Lowered) -> Option<String> {
    let (kernel, windows) = (step.kernel.name, &step.windows);
    let volume = |window: &Mat, by: u32| window.len() as u128 * u128::from(by);
    let (expected, got): (u128, u128) = if kernel.starts_with("gemm") {
        // Each element of a is in as many terms as out has columns, also where a was turned before, which is a piece of two windows.
        let a = windows[0];
        let is_turned = |piece: &&Piece| piece.windows.len() == 2 && piece.windows[0].buffer() == a.buffer();
        let turned: Vec<_> = pieces(lowered).filter(is_turned).map(|piece| piece.windows[1].buffer()).collect();
        let of = |piece: &Piece| {
            let (first, out) = (piece.windows[0], piece.windows[piece.windows.len() - 1]);
            let is_a = first.buffer() == a.buffer() || turned.contains(&first.buffer());
            if piece.windows.len() > 2 && is_a { volume(&first, out.cols()) } else { 0 }
        };
        (volume(&a, windows[windows.len() - 1].cols()), pieces(lowered).map(of).sum())
    } else if step.kernel.bindings.iter().any(|b| b.name == "weight") && kernel.contains("ward") {
        // Each element of the weight is in as many terms as there are sequences and time steps.
        let (inputs, weight) = (windows[0], windows[1]);
        let of = |phase: &Phase, piece: &Piece| -> u128 {
            let now = piece.windows.iter().find(|w| w.buffer() == inputs.buffer());
            // A product of parts has no inputs; the rows of a time step are its second scalar, or its third where that is whether it adds,
            // which it does not.
            let scalar = |i: usize| u32::from_ne_bytes(piece.scalars[4 * i..4 * i + 4].try_into().expect("four bytes"));
            let rows = || if scalar(1) == 0 { scalar(2) } else { scalar(1) } * phase.times.count;
            let weights = piece.windows.iter().filter(|w| w.buffer() == weight.buffer());
            weights.map(|weight| volume(weight, now.map_or_else(rows, Mat::rows))).sum()
        };
        let all = lowered.phases.iter().flat_map(|phase| phase.pieces.iter().map(move |piece| of(phase, piece)));
        (volume(&weight, inputs.rows()), all.sum())
    } else {
        return None;
    };
    (expected != got).then(|| format!("{got} of {expected} multiplications"))
}

/// Every variant of every shape of step of a network.
fn faults(config: &Config, buffer: u64) -> Vec<String> {
    let model = Model::new(config).unwrap();
    let cuts = cuts(buffer, &model);
    let mut shapes: BTreeMap<String, &Step> = BTreeMap::new();
    for step in model.program().steps() {
        shapes.entry(format!("{} {:?}", step.shape(), cuts_of(step, &cuts))).or_insert(step);
    }
    let mut faults = Vec::new();
    for (shape, step) in shapes {
        let able: Vec<&Variant> = step.kernel.variants.iter().filter(|v| (v.can)(step, &cuts)).collect();
        assert!(!able.is_empty(), "{shape}");
        faults.extend(
            able.iter().filter_map(|v| Some(format!("{shape}, {}: {}", v.name, fault(step, &(v.lower)(step, &cuts), &cuts)?))),
        );
    }
    faults
}

/// Where the windows of a step are cut by sections: steps of one shape are lowered alike but for that.
fn cuts_of(step: &Step, cuts: &Cuts) -> Vec<bool> {
    step.windows.iter().map(|w| cuts.section(w).1.end < w.offset() + w.len() as u64).collect()
}

fn large(input: Input, loss: Loss) -> Config {
    Config { clip: Some(1.0), trace: true, ..Config::new(input, 32_768, 65, loss, 64, 32) }
}

/// H = 32,768, where a weight has 4 GiB: for GPUs of large buffers, of ones of just below 4 GiB, and of ones as large as a binding.
#[test]
fn large_hidden_sizes_are_cut_for_any_gpu() {
    let vectors = large(Input::Vectors(64), Loss::SquaredError);
    let tokens = Config { optimizer: Optimizer::Sgd, ..large(Input::Tokens(65), Loss::CrossEntropy) };
    let momentum = Optimizer::Momentum { momentum: 0.9 };
    let configs = [
        vectors.clone(),
        Config { layers: 2, batch: 1, window: 7, optimizer: momentum, activation: Activation::Relu, ..vectors.clone() },
        Config { hidden: 32_765, batch: 17, window: 5, ..vectors.clone() },
        Config { recompute: Some(6), ..tokens.clone() },
        // Millions of rows.
        Config { window: 40_000, batch: 128, trace: false, ..tokens.clone() },
        Config { hidden: 1000, window: 3, batch: 3_000_000, trace: false, ..vectors },
    ];
    for config in configs {
        for buffer in [1 << 40, (1 << 32) - 4, (1 << 31) - 4] {
            let faults = faults(&config, buffer);
            assert_eq!(faults, [""; 0], "buffers of {buffer} bytes: {config:?}");
        }
    }
}

/// A piece that is left out, one that is there twice, and bindings that are too large are seen, of every kernel.
#[test]
fn what_is_left_out_or_too_large_is_seen() {
    let model = Model::new(&large(Input::Tokens(65), Loss::CrossEntropy)).unwrap();
    let (cuts, small) = (cuts(1 << 40, &model), Cuts::new(1 << 20, 1 << 38, WORKGROUPS, ITERATIONS));
    let mut seen = 0;
    for step in model.program().steps() {
        let name = step.kernel.name;
        for variant in step.kernel.variants.iter().filter(|v| (v.can)(step, &cuts)) {
            let lower = || (variant.lower)(step, &cuts);
            let last = lower().phases.len() - 1;
            let mut without = lower();
            let dropped = without.phases[last].pieces.pop().unwrap();
            let is_seen = |lowered: &Lowered| fault(step, lowered, &cuts).is_some();
            // Where the loss goes over its outputs several times, or the parts of a product are added to out, what the last piece writes was
            // written before: that it is missing is for the checks of the numbers to see.
            let adds_up = name == "softmax_loss" || dropped.windows.iter().all(|w| w.buffer() != step.windows[0].buffer());
            assert!(is_seen(&without) || adds_up, "{name}, {}: a piece is missing", variant.name);
            if ONCE.contains(&name)
                || name.starts_with("gemm") && dropped.windows.iter().any(|w| w.buffer() == step.windows[0].buffer())
            {
                let mut twice = lower();
                twice.phases[last].pieces.push(dropped);
                assert!(is_seen(&twice), "{name}, {}: a piece is there twice", variant.name);
                seen += 1;
            }
            let too_large = fault(step, &lower(), &small);
            let fits = step.windows.iter().all(|w| small.fits(w));
            assert!(fits || too_large.is_some_and(|fault| fault.contains("no binding")), "{name}, {}", variant.name);
        }
    }
    assert!(seen > 20, "{seen}");
}
