//! Steps as commands, as many as a submission may hold.

use wgpu::{CommandEncoder, ComputePassDescriptor};

use super::load::{Loaded, LoadedPhase};
use super::timestamps;

/// Where encoding has come to: a step, a phase of it, a time step of that and a piece of that.
pub(super) struct Position {
    pub step: usize,
    pub phase: usize,
    pub time: u32,
    pub piece: usize,
}

/// What a submission holds so far, and may hold.
pub(super) struct Load {
    pub budget: f64,
    pub work: f64,
    pub dispatches: u32,
}

impl Load {
    const MOST_DISPATCHES: u32 = 8192;

    /// Whether so much more is too much. The first piece always goes.
    fn is_full(&self, more: f64) -> bool {
        self.dispatches > 0 && (self.work + more > self.budget || self.dispatches >= Load::MOST_DISPATCHES)
    }
}

/// [`encode`] with a pass for each step, or for two that run at the same time, each with timestamps.
pub(super) fn encode_recorded(
    encoder: &mut CommandEncoder,
    queries: &mut timestamps::Queries,
    steps: &[Loaded],
    mut position: Position,
    end: usize,
    load: &mut Load,
) -> Position {
    while position.step < end && queries.has_room() {
        let step = position.step;
        let (_, count) = phases(steps, step, end);
        let descriptor = ComputePassDescriptor { label: None, timestamp_writes: Some(queries.writes_for(step)) };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        position = encode(&mut pass, steps, position, step + count, load);
        if position.step == step {
            break;
        }
    }
    position
}

/// The phases that compute a step, and how many steps they compute: two where it is the first of a pair and both are asked for.
pub(super) fn phases(steps: &[Loaded], step: usize, end: usize) -> (&[LoadedPhase], usize) {
    match &steps[step].together {
        Some(together) if step + 1 < end => (together, 2),
        _ => (&steps[step].phases, 1),
    }
}

/// Encodes from a position on until the end or until the submission is full; gives where it stopped.
pub(super) fn encode(pass: &mut wgpu::ComputePass, steps: &[Loaded], from: Position, end: usize, load: &mut Load) -> Position {
    let Position { mut step, mut phase, mut time, mut piece } = from;
    let mut is_set = false;
    while step < end {
        let (phases, count) = phases(steps, step, end);
        while phase < phases.len() {
            let now = &phases[phase];
            let share = steps[step].work * count as f64 / now.pieces.len() as f64;
            while time < now.times.count {
                while piece < now.pieces.len() {
                    if load.is_full(share) {
                        return Position { step, phase, time, piece };
                    }
                    let dispatch = &now.pieces[piece];
                    // A repeated phase of one piece sets its pipeline and bindings once.
                    if !is_set || now.pieces.len() > 1 {
                        pass.set_pipeline(&dispatch.pipeline);
                        pass.set_bind_group(0, &dispatch.bind_group, &[]);
                        is_set = true;
                    }
                    pass.set_immediates(0, bytemuck::bytes_of(&now.times.at(time)));
                    pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
                    load.dispatches += 1;
                    load.work += share;
                    piece += 1;
                }
                (time, piece) = (time + 1, 0);
            }
            (phase, time, is_set) = (phase + 1, 0, false);
        }
        (step, phase) = (step + count, 0);
    }
    Position { step, phase, time, piece }
}
