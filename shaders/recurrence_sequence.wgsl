// Many time steps of a recurrence, forward (step_forward) or backward (step_backward), of one sequence a workgroup, for UNITS units
// at most. The weight stays in registers: a thread has 64 values of k of one column, as 16 vectors; columns and values of k are those of one
// gate after the other. The state goes from step to step in workgroup memory. Of a dispatch with number `time` it is steps time·chunk ..
// (time + 1)·chunk, in the order of the direction. Unrolled by hand, for the registers.
const COLUMNS: u32 = UNITS * SUMS;
const THREADS: u32 = COLUMNS * UNITS * PARTS / 64u;

var<workgroup> state: array<vec4<f32>, UNITS * PARTS / 4u>;
var<workgroup> sums: array<f32, THREADS>; // the parts of k, of all columns

// An element of the weight, of which each gate has UNITS rows or columns here.
fn entry(k: u32, col: u32) -> f32 {
    if k % UNITS >= units() || col % UNITS >= units() {
        return 0.0;
    }
    let row = k / UNITS * gate_stride() + k % UNITS;
    let place = col / UNITS * gate_stride() + col % UNITS;
    return weight[at(params.weight, row, place & ~3u)][place & 3u];
}

fn column(k: u32, col: u32) -> vec4<f32> {
    return vec4<f32>(entry(k, col), entry(k + 1u, col), entry(k + 2u, col), entry(k + 3u, col));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let col = i % COLUMNS;
    let first = i / COLUMNS * 64u;
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
#for g in 0..PARTS
        state[$gu * UNITS / 4u + i] = vec4<f32>();
        if 4u * i < units() {
            state[$gu * UNITS / 4u + i] = state_at(state_row(step_at(begin)) + sequence, $gu * gate_stride() + 4u * i);
        }
#end
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
        if 4u * i < units() {
            var total = Sums();
            for (var p = 4u * i; p < THREADS; p += COLUMNS) {
#for g in 0..SUMS
                total[$g] += vec4<f32>(sums[p + $gu * UNITS], sums[p + $gu * UNITS + 1u], sums[p + $gu * UNITS + 2u], sums[p + $gu * UNITS + 3u]);
#end
            }
            let next = finish(step_at(n), sequence, 4u * i, total);
#for g in 0..PARTS
            state[$gu * UNITS / 4u + i] = next[$g];
#end
        }
        workgroupBarrier();
    }
}
