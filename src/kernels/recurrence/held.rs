//! How workgroups that hold the weight of a recurrence in registers share it out, and where they can.

use super::Shape;
use super::conditions::units;
use crate::program::{Binding, Cuts, Needs, Step};

/// How the workgroups of a shader share out a recurrence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Invocations of a workgroup.
    threads: u32,
    /// Units of a workgroup.
    pub units: u32,
    /// Units of a thread.
    columns: u32,
    /// Fours of values of k that a thread has at most.
    vectors: u32,
    /// Sequences that are computed at a time, at most.
    pub sequences: u32,
    /// Threads that add up a sum, where that is a stage of its own, or 0.
    folds: u32,
    /// The same as constants of the shader.
    pub text: &'static str,
}

/// `held!(threads, units, columns, vectors, sequences; words, share, terms)`, where each of `share` threads adds up `terms` slices before the
/// cell is called; without `terms` all slices are added up by those that call it.
macro_rules! held {
    ($threads:literal, $units:literal, $columns:literal, $vectors:literal, $sequences:literal; $words:literal, $slices:literal) => {
        held!($threads, $units, $columns, $vectors, $sequences; $words, $slices, 1, 0)
    };
    ($threads:literal, $units:literal, $columns:literal, $vectors:literal, $sequences:literal; $words:literal, $share:literal, $terms:literal) => {
        held!($threads, $units, $columns, $vectors, $sequences; $words, $share, $terms, 1)
    };
    (
        $threads:literal, $units:literal, $columns:literal, $vectors:literal, $sequences:literal;
        $words:literal, $share:literal, $terms:literal, $folds:literal
    ) => {{
        const HELD: Held = Held {
            threads: $threads,
            units: $units,
            columns: $columns,
            vectors: $vectors,
            sequences: $sequences,
            folds: $folds * $share,
            text: concat!(
                "const THREADS: u32 = ", $threads, "u;\n",
                "const UNITS: u32 = ", $units, "u; // of a workgroup\n",
                "const COLUMNS: u32 = ", $columns, "u; // units of a thread\n",
                "const VECTORS: u32 = ", $vectors, "u; // fours of values of k of a thread, at most\n",
                "const SEQUENCES: u32 = ", $sequences, "u; // at a time, at most\n",
                "const WORDS: u32 = ", $words, "u; // that a thread reads of a sequence's state\n",
                "const FOLDS: u32 = ", $folds, "u; // whether the sums of the slices are added up in two stages\n",
                "const TERMS: u32 = ", $terms, "u; // slices that a thread of the first stage adds up\n",
                "const SHARE: u32 = ", $share, "u; // sums that are left for the second stage\n",
            ),
        };
        assert!(HELD.slices() == $share * $terms && HELD.depth().div_ceil($threads) == $words);
        HELD
    }};
}

/// Those whose workgroups wait for each other, by the sums of a unit. With one sum the four of 512 threads hold up to 512, 1,024, 2,048 and
/// 4,096 values of k, and with several up to 128, 256, 512 and 1,024. The four of 256 threads hold as much: a thread has twice the weights, and
/// so reads fewer states for as many products. All fit 32 KiB of workgroup memory.
pub(crate) const fn shared(sums: usize) -> [Held; 8] {
    match sums {
        1 => [
            held!(512, 64, 4, 4, 2; 1, 4, 8),
            held!(512, 32, 4, 4, 2; 2, 8, 8),
            held!(512, 16, 4, 4, 1; 4, 8, 16),
            held!(512, 8, 4, 4, 1; 8, 16, 16),
            held!(256, 64, 8, 4, 2; 2, 2, 16),
            held!(256, 32, 8, 4, 2; 4, 4, 16),
            held!(256, 16, 4, 8, 2; 8, 8, 8),
            held!(256, 8, 8, 4, 1; 16, 16, 16),
        ],
        _ => [
            held!(512, 64, 1, 4, 2; 1, 8),
            held!(512, 32, 1, 4, 2; 1, 2, 8),
            held!(512, 16, 1, 4, 2; 1, 4, 8),
            held!(512, 8, 1, 4, 2; 2, 8, 8),
            held!(256, 64, 2, 4, 2; 1, 8),
            held!(256, 32, 2, 4, 2; 1, 1, 16),
            held!(256, 16, 2, 4, 2; 2, 2, 16),
            held!(256, 8, 2, 4, 2; 4, 4, 16),
        ],
    }
}

/// Those of which one workgroup holds a whole layer, by the gates of the cell and the sums of a unit: for up to 64 units and up to 128; each for
/// one sequence a workgroup and for four. Of several gates there are those for 64 units alone, and the others are never used.
pub(crate) const fn alone(gates: usize, sums: usize) -> [Held; 4] {
    match (gates, sums) {
        (1, _) => [
            held!(256, 64, 4, 1, 1; 1, 16),
            held!(256, 64, 4, 1, 4; 1, 16),
            held!(256, 128, 4, 4, 1; 1, 8),
            held!(256, 128, 4, 4, 4; 1, 8),
        ],
        (_, 1) => {
            let [one, four] = [held!(256, 64, 4, 4, 1; 1, 16), held!(256, 64, 4, 4, 4; 1, 16)];
            [one, four, one, four]
        }
        _ => {
            let [one, four] = [held!(256, 64, 1, 4, 1; 1, 4), held!(256, 64, 1, 4, 4; 1, 4)];
            [one, four, one, four]
        }
    }
}

impl Held {
    /// The slices of the values of k, each of a thread for every few units.
    pub const fn slices(&self) -> u32 {
        self.threads * self.columns / self.units
    }

    /// The most values of k.
    const fn depth(&self) -> u32 {
        self.slices() * self.vectors * 4
    }

    /// Bytes of workgroup memory.
    const fn memory(&self, sums: usize) -> u32 {
        4 * (self.sequences * (self.depth() + self.columns * sums as u32 * self.threads) + 1)
    }

    /// Workgroups that share a sequence, and so wait for each other.
    pub fn groups(&self, units: u32) -> u32 {
        units.div_ceil(self.units)
    }

    /// The sequences of a workgroup, so that no more run than may wait for each other. Those of other sequences do not.
    pub fn share(&self, batch: u32, groups: u32, cuts: &Cuts) -> u32 {
        let most = match cuts.resident {
            Some(most) if groups > 1 => most / groups,
            Some(_) => cuts.workgroups,
            // Each of its workgroups takes all sequences, as on a GPU with few.
            None => 1,
        };
        batch.div_ceil(most.clamp(1, cuts.workgroups))
    }

    /// The sequences that are computed at a time, of so many: about half of them, so that the states of the others are on their way meanwhile.
    pub fn at_once(&self, sequences: u32) -> u32 {
        sequences.div_ceil(2).min(self.sequences)
    }

    /// Loop iterations of a time step of so many sequences.
    pub fn iterations(&self, sequences: u32) -> u32 {
        sequences + sequences.div_ceil(self.at_once(sequences))
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

/// Whether the weight takes half of the registers or more. Where it takes less, fewer workgroups do as well.
pub(crate) fn is_filled(step: &Step, held: &Held) -> bool {
    2 * step.windows[1].rows >= held.depth()
}

/// Whether there are several sequences for each workgroup, so that reading states takes more time than waiting for them.
pub(crate) fn is_busy(step: &Step, held: &Held) -> bool {
    is_filled(step, held) && step.scalars::<Shape>().batch > 4
}

/// Whether there are so few sequences that each has a workgroup that runs at once.
pub(crate) fn has_few(step: &Step) -> bool {
    step.scalars::<Shape>().batch <= 256
}

/// Whether there are so many sequences that a large GPU has several for each workgroup.
pub(crate) fn has_many(step: &Step) -> bool {
    step.scalars::<Shape>().batch > 128
}

/// Whether one workgroup holds the weight, and there is a workgroup for each sequence.
pub(crate) fn can_hold_alone(step: &Step, cuts: &Cuts, held: &Held) -> bool {
    let weight = step.windows[1];
    let is_room = step.scalars::<Shape>().batch <= cuts.workgroups;
    units(step) <= held.units && weight.rows <= held.depth() && cuts.fits(&weight) && is_room
}

/// What a variant needs whose units have so many sums.
pub(crate) const fn needs(held: &Held, sums: usize, bindings: &[Binding]) -> Needs {
    // A thread for each part of a sum, and for each four units.
    let outputs = held.sequences * held.units;
    assert!(outputs * sums as u32 * held.folds <= held.threads && outputs / 4 <= held.threads);
    Needs { memory: held.memory(sums), invocations: held.threads, buffers: bindings.len() as u32, ..Needs::NOTHING }
}
