//! How workgroups that wait for each other share out a recurrence, whose weight they hold in registers, and where they can.

use super::Shape;
use super::conditions::units;
use crate::program::{Binding, Cuts, Needs, Step};

/// Invocations of a workgroup.
const THREADS: u32 = 256;
/// Values of k of a block, of which a thread has several.
pub(super) const BLOCK: u32 = 16;
/// How the workgroups of a shader share out a recurrence.
#[derive(Debug)]
pub(crate) struct Held {
    /// Units of a workgroup.
    pub units: u32,
    /// Blocks of 16 values of k that a thread has at most.
    blocks: u32,
    /// Sequences that are computed at a time.
    pub sequences: u32,
    /// The same as constants of the shader.
    pub text: &'static str,
}

macro_rules! held {
    ($units:literal, $blocks:literal, $sequences:literal, $words:literal) => {
        Held {
            units: $units,
            blocks: $blocks,
            sequences: $sequences,
            text: concat!(
                "const UNITS: u32 = ",
                $units,
                "u;\nconst BLOCKS: u32 = ",
                $blocks,
                "u;\nconst SEQUENCES: u32 = ",
                $sequences,
                "u;\nconst WORDS: u32 = ",
                $words,
                "u; // of a sequence's state that a thread brings\n"
            ),
        }
    };
}

/// 64 units a workgroup, by the sums of a unit: up to 256 values of k of one sum, or 64 of several.
pub(crate) const fn held_64(sums: usize) -> Held {
    if sums == 1 { held!(64, 4, 2, 1) } else { held!(64, 1, 2, 1) }
}

/// 16 units: up to 2,048 values of k of one sum, 768 of three, 512 of four.
pub(crate) const fn held_16(sums: usize) -> Held {
    match sums {
        1 => held!(16, 8, 2, 8),
        3 => held!(16, 3, 2, 3),
        _ => held!(16, 2, 2, 2),
    }
}

/// 8 units: up to 4,096 values of k of one sum, 1,536 of three, 1,024 of four.
pub(crate) const fn held_8(sums: usize) -> Held {
    match sums {
        1 => held!(8, 8, 1, 16),
        3 => held!(8, 3, 1, 6),
        _ => held!(8, 2, 1, 4),
    }
}

impl Held {
    /// Threads that share a unit.
    pub const fn slices(&self) -> u32 {
        THREADS / self.units
    }

    /// The most values of k.
    const fn depth(&self) -> u32 {
        self.slices() * self.blocks * BLOCK
    }

    /// Bytes of workgroup memory.
    const fn memory(&self, sums: usize) -> u32 {
        4 * (self.sequences * (self.depth() + sums as u32 * THREADS) + 1)
    }

    /// Workgroups that share a sequence, and so wait for each other.
    pub fn groups(&self, units: u32) -> u32 {
        units.div_ceil(self.units)
    }

    /// The sequences of a workgroup, so that no more run than may wait for each other. Those of other sequences do not.
    pub fn share(&self, batch: u32, groups: u32, cuts: &Cuts) -> u32 {
        let most = match cuts.resident {
            Some(most) if groups > 1 => most / groups,
            _ => cuts.workgroups,
        };
        batch.div_ceil(most.clamp(1, cuts.workgroups)).next_multiple_of(self.sequences)
    }

    /// Loop iterations of a time step of so many sequences: a round for those at a time, in which the slices' sums are added up.
    pub fn iterations(&self, sequences: u32) -> u32 {
        sequences / self.sequences * (self.slices() + 1)
    }
}

/// Whether the registers of the workgroups hold the weight, and the device runs as many workgroups at the same time as wait for each other, or
/// nothing is known of it and nothing waits.
pub(crate) fn can_hold(step: &Step, cuts: &Cuts, held: &Held) -> bool {
    let weight = step.windows[1];
    let groups = held.groups(units(step));
    let is_room = groups <= cuts.workgroups && (groups == 1 || cuts.resident.is_none_or(|most| groups <= most));
    let iterations = || held.iterations(held.share(step.scalars::<Shape>().batch, groups, cuts));
    weight.rows <= held.depth() && cuts.fits(&weight) && is_room && iterations() <= cuts.iterations
}

/// What a variant needs whose units have so many sums.
pub(crate) const fn needs(held: &Held, sums: usize, bindings: &[Binding]) -> Needs {
    Needs { memory: held.memory(sums), buffers: bindings.len() as u32, ..Needs::NOTHING }
}
