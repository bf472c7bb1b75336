//! What ranks do together, made of messages.
//!
//! A sum is shared out: each rank adds up a part of the values, in the order of the ranks, and hands it to the others. So a rank sends and
//! receives about twice the values, however many ranks there are, and every rank has the same bits.

use std::ops::Range;

use super::messages::{Lost, Messages};
use super::share;

/// The bytes of a message at most: what MPI counts in is an `int`.
const MOST: usize = 1 << 30;

/// The values are replaced by the sums of those of all ranks.
pub(super) fn sum(messages: &mut dyn Messages, values: &mut [f32]) -> Result<(), Lost> {
    let (rank, size) = (messages.rank(), messages.size());
    let own = share(values.len(), rank, size);
    let mut parts = vec![0.0f32; own.len() * size];
    {
        let to: Vec<&[u8]> = (0..size)
            .map(|other| if other == rank { &[] } else { bytemuck::cast_slice(&values[share(values.len(), other, size)]) })
            .collect();
        let mut from: Vec<&mut [u8]> = if own.is_empty() {
            (0..size).map(|_| &mut [][..]).collect()
        } else {
            parts.chunks_mut(own.len()).map(bytemuck::cast_slice_mut).collect()
        };
        from[rank] = &mut [];
        messages.exchange(&to, &mut from)?;
    }
    parts[rank * own.len()..(rank + 1) * own.len()].copy_from_slice(&values[own.clone()]);
    let (sums, others) = parts.split_at_mut(own.len());
    if !own.is_empty() {
        others.chunks(own.len()).for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value));
    }
    hand_out(messages, sums, values)?;
    values[own].copy_from_slice(sums);
    Ok(())
}

/// Gives the others a rank's share of some values, and takes theirs.
fn hand_out(messages: &mut dyn Messages, own: &[f32], values: &mut [f32]) -> Result<(), Lost> {
    let (rank, size, len) = (messages.rank(), messages.size(), values.len());
    let own: &[u8] = bytemuck::cast_slice(own);
    let to: Vec<&[u8]> = (0..size).map(|other| if other == rank { &[] } else { own }).collect();
    let mut rest = values;
    let mut from: Vec<&mut [u8]> = Vec::with_capacity(size);
    for other in 0..size {
        let part;
        (part, rest) = rest.split_at_mut(share(len, other, size).len());
        from.push(if other == rank { &mut [] } else { bytemuck::cast_slice_mut(part) });
    }
    messages.exchange(&to, &mut from)
}

/// What each rank gives, in the order of the ranks.
pub(super) fn gather(messages: &mut dyn Messages, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, Lost> {
    let (rank, size) = (messages.rank(), messages.size());
    let lens = lengths(messages, bytes.len(), |_| true)?;
    let mut all: Vec<Vec<u8>> = lens.iter().map(|&len| vec![0; len]).collect();
    for block in blocks(lens.iter().copied().max().unwrap_or(0)) {
        let to: Vec<&[u8]> = (0..size).map(|other| if other == rank { &[] } else { part(&bytes, &block) }).collect();
        let mut from: Vec<&mut [u8]> = all.iter_mut().map(|bytes| part_mut(bytes, &block)).collect();
        from[rank] = &mut [];
        messages.exchange(&to, &mut from)?;
    }
    all[rank] = bytes;
    Ok(all)
}

/// What rank 0 gives: it sends each a share, which all then give one another.
pub(super) fn broadcast(messages: &mut dyn Messages, bytes: Vec<u8>) -> Result<Vec<u8>, Lost> {
    let (rank, size) = (messages.rank(), messages.size());
    let len = lengths(messages, bytes.len(), |from| from == 0)?[0];
    let mut own = vec![0; share(len, rank, size).len()];
    for block in blocks(len.div_ceil(size)) {
        let to: Vec<&[u8]> = (0..size)
            .map(|other| if rank == 0 && other != 0 { part(&bytes[share(len, other, size)], &block) } else { &[] })
            .collect();
        let mut from: Vec<&mut [u8]> = (0..size).map(|_| &mut [][..]).collect();
        if rank != 0 {
            from[0] = part_mut(&mut own, &block);
        }
        messages.exchange(&to, &mut from)?;
    }
    if rank == 0 {
        own.copy_from_slice(&bytes[share(len, 0, size)]);
    }
    Ok(gather(messages, own)?.concat())
}

/// The length of what each rank gives, of those that give something.
fn lengths(messages: &mut dyn Messages, own: usize, gives: impl Fn(usize) -> bool) -> Result<Vec<usize>, Lost> {
    let (rank, size) = (messages.rank(), messages.size());
    let own = (own as u64).to_le_bytes();
    let mut all = vec![[0u8; 8]; size];
    let to: Vec<&[u8]> = (0..size).map(|other| if other != rank && gives(rank) { &own[..] } else { &[] }).collect();
    let mut from: Vec<&mut [u8]> = all
        .iter_mut()
        .enumerate()
        .map(|(other, len)| if other != rank && gives(other) { &mut len[..] } else { &mut [] })
        .collect();
    messages.exchange(&to, &mut from)?;
    all[rank] = own;
    Ok(all.into_iter().map(|len| u64::from_le_bytes(len) as usize).collect())
}

fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(MOST).map(move |start| start..len.min(start + MOST))
}

fn part<'a>(bytes: &'a [u8], block: &Range<usize>) -> &'a [u8] {
    &bytes[block.start.min(bytes.len())..block.end.min(bytes.len())]
}

fn part_mut<'a>(bytes: &'a mut [u8], block: &Range<usize>) -> &'a mut [u8] {
    let len = bytes.len();
    &mut bytes[block.start.min(len)..block.end.min(len)]
}
