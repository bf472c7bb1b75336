// Many time steps of a recurrence, forward (step_forward) or backward (step_backward), of one sequence a workgroup, for UNITS units
// at most. The weight stays in registers: a thread has 64 values of k of one unit's column, as 16 vectors. The state goes from step
// to step in workgroup memory. Of a dispatch with number `time` it is steps time·chunk .. (time + 1)·chunk, in the order of the
// direction. Unrolled by hand, for the registers.
const THREADS: u32 = UNITS * UNITS / 64u;

var<workgroup> state: array<vec4<f32>, UNITS / 4u>;
var<workgroup> sums: array<f32, THREADS>; // UNITS / 64 parts of k, of all units

fn entry(k: u32, col: u32) -> f32 {
    if k >= params.weight.rows || col >= params.weight.cols {
        return 0.0;
    }
    return weight[at(params.weight, k, col & ~3u)][col & 3u];
}

fn column(k: u32, col: u32) -> vec4<f32> {
    return vec4<f32>(entry(k, col), entry(k + 1u, col), entry(k + 2u, col), entry(k + 3u, col));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let col = i % UNITS;
    let first = i / UNITS * 64u;
    let part = first / 4u;
    let w0 = column(first + 0u, col);
    let w1 = column(first + 4u, col);
    let w2 = column(first + 8u, col);
    let w3 = column(first + 12u, col);
    let w4 = column(first + 16u, col);
    let w5 = column(first + 20u, col);
    let w6 = column(first + 24u, col);
    let w7 = column(first + 28u, col);
    let w8 = column(first + 32u, col);
    let w9 = column(first + 36u, col);
    let w10 = column(first + 40u, col);
    let w11 = column(first + 44u, col);
    let w12 = column(first + 48u, col);
    let w13 = column(first + 52u, col);
    let w14 = column(first + 56u, col);
    let w15 = column(first + 60u, col);
    let begin = immediates.time * params.chunk;
    let end = min(params.steps, begin + params.chunk);
    let sequence = group.y;
    if i < UNITS / 4u {
        state[i] = vec4<f32>();
        if 4u * i < params.weight.cols {
            state[i] = state_at(state_row(step_at(begin)) + sequence, 4u * i);
        }
    }
    workgroupBarrier();
    for (var n = begin; n < end; n++) {
        var sum = 0.0;
        sum += dot(w0, state[part + 0u]);
        sum += dot(w1, state[part + 1u]);
        sum += dot(w2, state[part + 2u]);
        sum += dot(w3, state[part + 3u]);
        sum += dot(w4, state[part + 4u]);
        sum += dot(w5, state[part + 5u]);
        sum += dot(w6, state[part + 6u]);
        sum += dot(w7, state[part + 7u]);
        sum += dot(w8, state[part + 8u]);
        sum += dot(w9, state[part + 9u]);
        sum += dot(w10, state[part + 10u]);
        sum += dot(w11, state[part + 11u]);
        sum += dot(w12, state[part + 12u]);
        sum += dot(w13, state[part + 13u]);
        sum += dot(w14, state[part + 14u]);
        sum += dot(w15, state[part + 15u]);
        sums[i] = sum;
        workgroupBarrier();
        if 4u * i < params.weight.cols {
            var total = vec4<f32>();
            for (var p = 4u * i; p < THREADS; p += UNITS) {
                total += vec4<f32>(sums[p], sums[p + 1u], sums[p + 2u], sums[p + 3u]);
            }
            state[i] = finish(step_at(n), sequence, 4u * i, total);
        }
        workgroupBarrier();
    }
}
