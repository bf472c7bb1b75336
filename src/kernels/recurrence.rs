//! The loop over time, forward and backward, around a cell's pointwise part. A block is a batch of rows, and a gate has a part of the columns.
//!
//! Forward, for t = 0 … T−1: block t+1 of the states, and block t of what is saved, are what the cell makes of block t of the input, of
//! block t of hidden · weight with weight = Wᵀ `[H, G·H]`, and of block t of the states, the first of which are the initial ones.
//!
//! Backward, for t = T−1 … 0: block t of d_sum, the gradient of the recurrent sums, of d_state and of d_input are what the cell makes of block
//! t of the gradient of h from above, of block t+1 of d_sum · weight with weight = W `[G·H, H]`, and of block t+1 of d_state, what goes back to
//! a state on a path of its own. The blocks T are what comes from a later segment, else zero.
//!
//! On GPUs each time step is a dispatch with the product and the cell fused, or, where the product is large, one for its parts and one
//! that adds them up and calls the cell; `time` is an immediate, so that any number of steps takes the same memory. In all of them a thread has
//! all gates of its units.

use bytemuck::{Pod, Zeroable};

use crate::Activation;
use crate::program::{Content, Contents, Kernel, Mat, Program, Step, Variant, all_windows};

mod conditions;
mod cpu;
mod definition;
mod held;
mod lower;
mod persistent;
mod pointwise;
mod variants;
mod ways;
pub(crate) use conditions::{has_room, has_room_turned, is_large, is_middling, is_skinny, is_worth_turning};
use cpu::{run_backward, run_forward};
use definition::{bound_backward, bound_forward, define_backward, define_forward, steps_of};
pub(crate) use held::{Held, alone, can_hold, can_hold_alone, has_few, has_many, is_busy, is_filled, needs, shared};
pub(crate) use lower::{COPY, LARGE_PRODUCT, PARTS_SCALARS, PIECE_SCALARS, TURN, TURNED_PRODUCT, WIDE_PRODUCT, lower};
pub(crate) use persistent::{FLAGS, SCALARS as HELD_SCALARS, waiting, with_word};
pub(crate) use pointwise::{After, Before, Behind, Dims, Gradients, MOST, Numbers, Pointwise, Windows, gate_cols, gate_stride};
pub(crate) use variants::{all, fused, in_parts, kernels, source, text, variants, with_unchecked};
pub(crate) use ways::{BY_LANES, BY_SLICES, NARROW, TILED, Way, by_sequence, by_subgroup};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Shape {
    batch: u32,
    activation: u32,
}

const SCALARS: &[&str] = &["batch", "activation"];

/// The windows of a cell's recurrence in a direction.
fn windows_of<P: Pointwise>(backward: bool) -> Windows {
    P::DIMS.windows()[usize::from(backward)]
}

/// Records a recurrence, forward or backward, of a cell: its windows in the order of the kernel's bindings.
///
/// # Panics
/// When the shapes do not fit.
pub(crate) fn record(program: &mut Program, kernel: &'static Kernel, activation: Activation, batch: u32, windows: &[Mat]) {
    let steps = windows[0];
    assert!(batch > 0 && steps.rows.is_multiple_of(batch), "{kernel:?}: batch {batch}, {steps:?}");
    for (window, binding) in windows.iter().zip(kernel.bindings).skip(2) {
        let rows = match binding.name {
            name if name.starts_with("constant") => 1,
            name if name.starts_with("d_s") || name.starts_with("state") || name == "hidden" => steps.rows + batch,
            _ => steps.rows,
        };
        assert_eq!(window.rows, rows, "{kernel:?}: {} is {window:?}, the input {steps:?}", binding.name);
    }
    program.push(kernel, windows, Shape { batch, activation: activation.code() });
}

/// The kernel of a cell in a direction.
pub(crate) const fn kernel<P: Pointwise>(
    name: &'static str,
    backward: bool,
    bindings: &'static [crate::program::Binding],
    variants: &'static [Variant],
) -> Kernel {
    Kernel {
        name,
        bindings,
        scalars: SCALARS,
        definition: if backward { define_backward::<P> } else { define_forward::<P> },
        bound: if backward { bound_backward::<P> } else { bound_forward::<P> },
        parts: if backward { |step| steps_of::<P>(step, true) } else { |step| steps_of::<P>(step, false) },
        is_exact: |step| P::keeps_integers(Activation::coded(step.scalars::<Shape>().activation)),
        cpu: if backward { run_backward::<P> } else { run_forward::<P> },
        variants,
        bytes: all_windows,
        working,
        runs_beside: cpu::runs_beside::<P>,
        flops,
        sample: if backward { sample_backward::<P> } else { sample_forward::<P> },
    }
}

/// [m, n, k] as batch, hidden size and steps.
fn sample_forward<P: Pointwise>(program: &mut Program, size: [u32; 3]) -> Contents {
    sample::<P>(program, false, size)
}

fn sample_backward<P: Pointwise>(program: &mut Program, size: [u32; 3]) -> Contents {
    sample::<P>(program, true, size)
}

fn sample<P: Pointwise>(program: &mut Program, backward: bool, [batch, units, steps]: [u32; 3]) -> Contents {
    let (dims, place, kernel) = (P::DIMS, windows_of::<P>(backward), P::KERNELS[usize::from(backward)]);
    let activation = Activation::ALL[if P::IS_ACTIVATED { steps as usize % Activation::ALL.len() } else { 0 }];
    let (mut windows, mut contents) = (Vec::new(), Contents::new());
    let gates = gate_cols(units, dims.gates);
    for (i, binding) in kernel.bindings.iter().enumerate() {
        let (rows, cols, content) = match (i, binding.name) {
            (0, "input") => (steps * batch, gates, Some(Content::Gates(units))),
            (1, _) if backward => (gates, units, Some(Content::Recurrent(units))),
            (1, _) => (units, gates, Some(Content::Recurrent(units))),
            (_, "saved") => (steps * batch, gate_cols(units, dims.saved), Some(Content::GateStates(units))),
            (_, "d_sum") => ((steps + 1) * batch, gates, Some(Content::Gates(units))),
            (_, "d_input") => (steps * batch, gates, Some(Content::Gates(units))),
            (_, name) if name.starts_with("kept") => (steps * batch, units, Some(Content::State)),
            (i, _) if i >= 2 && i < place.first_read() => (1, units, P::constants(units)),
            (i, _) if (place.first_state()..place.first_output()).contains(&i) => ((steps + 1) * batch, units, None),
            _ => (steps * batch, units, None),
        };
        let window = program.matrix(binding.name, rows, cols);
        contents.extend(content.map(|content| (window, content)));
        windows.push(window);
    }
    record(program, kernel, activation, batch, &windows);
    contents
}

fn flops(step: &Step) -> u64 {
    // For each row of a time step all of the weight.
    2 * u64::from(step.windows[0].rows) * step.windows[1].len() as u64
}

/// The weight in panels.
fn working(step: &Step) -> u64 {
    step.windows[1].bytes()
}
