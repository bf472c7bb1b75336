//! The buffers of a program on a device: the places of its plan, in sections where one is larger than the device's largest buffer,
//! and scratch memory.

use std::ops::Range;

use wgpu::BufferUsages;

use super::Device;
use crate::backend::{PROGRAM, check_memory};
use crate::program::{Buf, Cuts, Element, Lowered, Mat, Piece, Plan, Program};
use crate::{Error, Result};

/// A program's memory.
pub(super) struct Memory {
    plan: Plan,
    pub cuts: Cuts,
    /// Of each place, its sections.
    places: Vec<Vec<wgpu::Buffer>>,
    /// Of each scratch memory, its sections.
    scratch: Vec<Vec<wgpu::Buffer>>,
    /// The words that tell that a workgroup has waited in vain.
    pub given_up: wgpu::Buffer,
}

impl Memory {
    /// Allocates what a program and its lowered steps need, zero.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when a row is larger than a buffer, or the whole larger than the memory there is, where the device has the
    /// machine's.
    pub fn allocate<'a>(
        device: &Device,
        program: &Program,
        cuts: Cuts,
        pieces: impl Iterator<Item = &'a Piece>,
    ) -> Result<Memory> {
        let plan = program.plan();
        let scratch = scratch(&cuts, pieces);
        let places: Vec<(String, Vec<u64>)> = (0..plan.sizes().len())
            .map(|place| {
                let buffers: Vec<usize> = plan.buffers(place).collect();
                let names: Vec<&str> = buffers.iter().map(|&b| program.buffers()[b].name.as_str()).collect();
                // The largest has the most sections, and those of the others begin where its do.
                let starts = buffers.iter().map(|&b| cuts.sections(Buf(b as u32))).max_by_key(|starts| starts.len());
                let starts = starts.expect("a place is some buffer's");
                let ends = starts[1..].iter().copied().chain([plan.sizes()[place]]);
                (names.join(" / "), starts.iter().zip(ends).map(|(start, end)| end - start).collect())
            })
            .collect();
        let all =
            || places.iter().map(|(name, sections)| (name.as_str(), sections)).chain(scratch.iter().map(|s| ("scratch", s)));
        let largest = device.device.limits().max_buffer_size;
        for (name, sections) in all() {
            if let Some(section) = sections.iter().find(|&&section| section * Element::SIZE > largest) {
                return Err(Error::DoesNotFit {
                    what: format!("a row of \"{name}\""),
                    needed: section * Element::SIZE,
                    available: largest,
                    advice: format!("{} has no larger buffers", device.adapter.name),
                });
            }
        }
        let needed = all().flat_map(|(_, sections)| sections).map(|section| section * Element::SIZE).sum();
        if device.adapter.is_software() {
            check_memory(PROGRAM, needed)?;
        }
        let mut allocated = 0;
        let mut make = |name: &str, sections: &[u64]| -> Result<Vec<wgpu::Buffer>> {
            let make = |&len: &u64| {
                let made = section(device, name, len);
                // A GPU does not say how much memory it has left: what it gave until it refused.
                let made = made.map_err(|error| match error {
                    Error::DoesNotFit { advice, .. } => {
                        Error::DoesNotFit { what: PROGRAM.into(), needed, available: allocated, advice }
                    }
                    other => other,
                });
                allocated += len * Element::SIZE;
                made
            };
            sections.iter().map(make).collect()
        };
        Ok(Memory {
            places: places.iter().map(|(name, sections)| make(name, sections)).collect::<Result<_>>()?,
            scratch: scratch.iter().map(|sections| make("scratch", sections)).collect::<Result<_>>()?,
            given_up: make("given up", &[4])?.remove(0),
            plan,
            cuts,
        })
    }

    /// Whether other steps can use the same buffers: none lies in sections, which meet at rows of the windows of the steps that it was made for.
    pub fn is_extensible(&self) -> bool {
        self.places.iter().all(|sections| sections.len() == 1)
    }

    /// Whether steps that the program has gained need no other places.
    pub fn suits(&self, program: &Program, gained: Range<usize>) -> bool {
        self.plan.suits(program, gained)
    }

    /// Makes scratch memory as large as more lowered steps need it. What is bound already stays with the steps that it is bound to.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`]; [`Error::Device`].
    pub fn enlarge_scratch<'a>(&mut self, device: &Device, pieces: impl Iterator<Item = &'a Piece>) -> Result<()> {
        for (here, sections) in self.scratch.iter_mut().zip(scratch(&self.cuts, pieces)) {
            let bytes = |len: u64| (len * Element::SIZE).next_multiple_of(16);
            let is_enough = here.len() >= sections.len() && here.iter().zip(&sections).all(|(b, len)| b.size() >= bytes(*len));
            if !is_enough {
                *here = sections.iter().map(|len| section(device, "scratch", *len)).collect::<Result<_>>()?;
            }
        }
        Ok(())
    }

    /// Gives back what it holds.
    pub fn free(&mut self) {
        self.places.iter_mut().chain(&mut self.scratch).flatten().for_each(|buffer| buffer.destroy());
    }

    /// The buffer of the section that a window lies in, and where in it the window begins.
    ///
    /// # Panics
    /// When it lies in several: a fault of a lowering.
    pub fn find(&self, window: &Mat) -> (&wgpu::Buffer, u64) {
        if window.buf == Buf::GIVEN_UP {
            return (&self.given_up, window.offset);
        }
        let (number, section) = self.cuts.section(window);
        assert!(window.end() <= section.end, "{window:?} is beyond the section {section:?}");
        let sections = match Buf::SCRATCH.iter().position(|buf| *buf == window.buf) {
            Some(scratch) => &self.scratch[scratch],
            None => &self.places[self.plan.place(window.buf.0 as usize)],
        };
        (&sections[number], window.offset - section.start)
    }

    /// The sections of all places, each with the numbers of both.
    pub fn sections(&self) -> impl Iterator<Item = ([usize; 2], &wgpu::Buffer)> {
        let of = |(place, sections): (usize, &'_ Vec<wgpu::Buffer>)| (0..sections.len()).map(move |number| [place, number]);
        self.places.iter().enumerate().flat_map(of).map(|at| (at, self.section(at)))
    }

    pub fn section(&self, [place, number]: [usize; 2]) -> &wgpu::Buffer {
        &self.places[place][number]
    }

    /// A window's parts, a section each, with their buffers and where in them they begin.
    pub fn parts(&self, window: Mat) -> impl Iterator<Item = (Mat, &wgpu::Buffer, u64)> {
        self.cuts.parts(window).into_iter().map(|part| {
            let (buffer, offset) = self.find(&part);
            (part, buffer, offset)
        })
    }
}

/// Bytes of scratch memory that the steps of a program take, and of what is kept where workgroups wait for each other.
pub(super) fn scratch_bytes(device: &Device, program: &Program) -> u64 {
    let cuts = device.cuts(program);
    let variants: Vec<_> = program.steps().iter().map(|step| (step, device.variant(step, &cuts))).collect();
    // Of a pair that is computed together no step takes scratch memory.
    let lowered: Vec<Lowered> = variants.iter().map(|(step, variant)| (variant.lower)(step, &cuts)).collect();
    let pieces = lowered.iter().flat_map(|l| &l.phases).flat_map(|phase| &phase.pieces);
    let kept = if variants.iter().any(|(_, variant)| variant.waits) { super::replay::copied(program) } else { 0 };
    kept + scratch(&cuts, pieces).iter().flatten().map(|section| section * Element::SIZE).sum::<u64>()
}

/// The elements of the sections of each scratch memory.
fn scratch<'a>(cuts: &Cuts, pieces: impl Iterator<Item = &'a Piece>) -> Vec<Vec<u64>> {
    let mut sizes = vec![vec![4]; Buf::SCRATCH.len()];
    for window in pieces.flat_map(|piece| &piece.windows) {
        if let Some(scratch) = Buf::SCRATCH.iter().position(|buf| *buf == window.buf) {
            let (number, section) = cuts.section(window);
            let sections = &mut sizes[scratch];
            sections.resize(sections.len().max(number + 1), 4);
            sections[number] = sections[number].max(window.end() - section.start);
        }
    }
    sizes
}

/// A section of so many elements.
fn section(device: &Device, name: &str, len: u64) -> Result<wgpu::Buffer> {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    device.checked(&format!("the buffer \"{name}\""), || buffer(device, name, len * Element::SIZE, usage))
}

pub(super) fn buffer(device: &Device, name: &str, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size: bytes.next_multiple_of(16).max(16),
        usage: usage | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
