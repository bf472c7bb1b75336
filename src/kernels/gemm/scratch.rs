//! Memory of a thread for numbers that are packed anew for each product.

use std::cell::RefCell;

use bytemuck::{Pod, Zeroable};

/// A cache line: vectors that begin with one never lie across two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Memory for numbers that are packed anew for each product. A thread keeps what it no longer needs for its next one: to have it
/// mapped and zeroed each time would take as long as a tenth of a small product. What it holds at first is anything.
pub(crate) struct Scratch(Vec<Line>);

/// What a thread keeps at most: so many pieces of at most so many lines, 16 MiB.
const SPARE: (usize, usize) = (4, 1 << 18);

thread_local! {
    static SPARES: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// Of at least so many numbers.
    pub fn new(len: usize) -> Scratch {
        let mut lines = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
        lines.resize(lines.len().max(len.div_ceil(16)), Line::zeroed());
        Scratch(lines)
    }

    pub fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn numbers_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE.0 && lines.len() <= SPARE.1 {
                spares.push(lines);
            }
        });
    }
}
