//! Which buffers of a program share memory: those of transient ones that no step needs at the same time.

use std::ops::{Range, RangeInclusive};

use super::{Access, Element, Program};

/// Where the buffers of a program lie: each in a **place**, which is a buffer of the backend.
///
/// A transient buffer ([`Program::transient`]) lives from the first step that uses it to the last. The two steps of a pair count as one here,
/// since they may run at the same time. Two buffers whose lives do not meet may have one place, if their rows are laid out alike, so that the
/// padding of one is that of the other and stays zero. All others have a place to themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    places: Vec<usize>,
    sizes: Vec<u64>,
    lives: Vec<Option<RangeInclusive<usize>>>,
}

impl Plan {
    pub(super) fn new(program: &Program) -> Plan {
        let lives = lives(program, 0..program.steps.len());
        let mut order: Vec<usize> = (0..lives.len()).collect();
        // The large ones first: what comes later is smaller, and finds a place that is there.
        order.sort_by_key(|&b| std::cmp::Reverse(program.buffers[b].len));
        let (mut places, mut shared): (Vec<usize>, Vec<Vec<usize>>) = (vec![0; lives.len()], Vec::new());
        for b in order {
            let room = |tenants: &Vec<usize>| tenants.iter().all(|&other| can_share(program, &lives, b, other));
            let place = shared.iter().position(room).unwrap_or(shared.len());
            if place == shared.len() {
                shared.push(Vec::new());
            }
            shared[place].push(b);
            places[b] = place;
        }
        let size =
            |tenants: &Vec<usize>| tenants.iter().map(|&b| program.buffers[b].len).max().expect("a place is some buffer's");
        Plan { places, sizes: shared.iter().map(size).collect(), lives }
    }

    /// The place of a declared buffer, by its number.
    #[must_use]
    pub fn place(&self, buffer: usize) -> usize {
        self.places[buffer]
    }

    /// The elements of each place, as many as those of the largest buffer in it.
    #[must_use]
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// The first and the last step that use a transient buffer; `None` for one that keeps what it holds.
    #[must_use]
    pub fn life(&self, buffer: usize) -> Option<&RangeInclusive<usize>> {
        self.lives[buffer].as_ref()
    }

    /// Whether other steps over the same buffers, to be run in order as well, can use these places: no two transient buffers of one place are
    /// needed at the same time there.
    #[must_use]
    pub fn suits(&self, program: &Program, steps: Range<usize>) -> bool {
        let lives = lives(program, steps);
        let meet = |a: usize, b: usize| match (&lives[a], &lives[b]) {
            (Some(first), Some(second)) => first.start() <= second.end() && second.start() <= first.end(),
            _ => false,
        };
        (0..self.sizes.len()).all(|place| {
            let tenants: Vec<usize> = self.buffers(place).collect();
            (0..tenants.len()).all(|b| !tenants[..b].iter().any(|&a| meet(a, tenants[b])))
        })
    }

    /// Those steps of all transient buffers.
    pub(crate) fn lives(&self) -> impl Iterator<Item = &RangeInclusive<usize>> {
        self.lives.iter().flatten()
    }

    /// The numbers of the buffers in a place.
    pub fn buffers(&self, place: usize) -> impl Iterator<Item = usize> {
        self.places.iter().enumerate().filter(move |(_, p)| **p == place).map(|(b, _)| b)
    }

    /// Bytes of all places.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|len| len * Element::SIZE).sum()
    }
}

/// The first and the last of some steps that use each transient buffer, both steps of a pair where one of them does.
///
/// # Panics
/// When the first step that uses a transient buffer only reads it: a fault of whoever recorded.
pub(super) fn lives(program: &Program, steps: Range<usize>) -> Vec<Option<RangeInclusive<usize>>> {
    let mut lives: Vec<Option<RangeInclusive<usize>>> = vec![None; program.buffers.len()];
    let is_second = |index: usize| program.steps.get(index).is_some_and(|step| step.is_second);
    for (index, step) in program.steps.iter().enumerate().take(steps.end).skip(steps.start) {
        let (first, last) = (index - usize::from(is_second(index)), index + usize::from(is_second(index + 1)));
        for (window, binding) in step.windows.iter().zip(step.kernel.bindings) {
            let declaration = &program.buffers[window.buf.0 as usize];
            if declaration.transient {
                let life = &mut lives[window.buf.0 as usize];
                let begins = life.as_ref().is_none_or(|life| *life.start() == index);
                assert!(!begins || binding.access != Access::Read, "{} is read before it was written", declaration.name);
                *life = Some(life.as_ref().map_or(first, |life| *life.start())..=last);
            }
        }
    }
    lives
}

fn can_share(program: &Program, lives: &[Option<RangeInclusive<usize>>], a: usize, b: usize) -> bool {
    let (Some(first), Some(second)) = (&lives[a], &lives[b]) else { return false };
    let (a, b) = (&program.buffers[a], &program.buffers[b]);
    let apart = first.end() < second.start() || second.end() < first.start();
    apart && a.element == b.element && a.cols == b.cols
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fill::copy;

    #[test]
    fn those_that_meet_do_not_share() {
        let mut program = Program::new();
        let kept = program.matrix("kept", 5, 9);
        let t = ["a", "b", "c", "d"].map(|name| program.transient(name, 5, 9));
        let larger = program.transient("larger", 6, 9);
        let other = program.transient("other", 5, 10);
        copy(&mut program, kept, t[0]); // 0
        copy(&mut program, t[0], t[1]); // 1
        copy(&mut program, t[1], t[2]); // 2
        copy(&mut program, t[2], t[3]); // 3
        copy(&mut program, t[3], kept); // 4
        copy(&mut program, kept, larger.slice_rows(1..6)); // 5
        copy(&mut program, larger.slice_rows(0..5), kept); // 6
        crate::kernels::fill::fill(&mut program, other, 1.0); // 7
        let plan = program.plan();
        assert_eq!([1, 2, 3, 4].map(|b| plan.life(b).cloned().unwrap()), [0..=1, 1..=2, 2..=3, 3..=4]);
        assert_eq!((plan.life(0), plan.life(6)), (None, Some(&(7..=7))));
        let place = |b: usize| plan.place(b);
        // a, c and the larger one; b and d; alone the one that keeps its values and the one of other rows.
        assert!(place(1) == place(3) && place(2) == place(4) && place(1) != place(2) && place(5) == place(1));
        assert_eq!(plan.sizes().len(), 4);
        assert_eq!(plan.sizes()[place(1)], 6 * 12);
        assert_eq!(plan.bytes(), 4 * (5 * 12 + 6 * 12 + 5 * 12 + 5 * 12));
        assert!(plan.bytes() < program.bytes());
    }

    #[test]
    #[should_panic(expected = "b is read before it was written")]
    fn what_is_read_first_is_not_transient() {
        let mut program = Program::new();
        let (a, b) = (program.matrix("a", 2, 2), program.transient("b", 2, 2));
        copy(&mut program, b, a);
        let _ = program.plan();
    }
}
