// One time step of a recurrence, forward (step_forward) or backward (step_backward): an invocation sums
// Σ_k state[m, k]·weight[k, n] for 8 sequences and 4 units, then calls the cell. The sequences are the same for a
// whole workgroup; lanes lie along the units. Past the end sequences are computed again and not stored, and rows of the
// weight are zero: one that is read again and infinite would make NaN of the state's padding.
const ROWS: u32 = 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * 8u + lane.x) * 4u;
    if col >= params.weight.cols {
        return;
    }
    let state = state_row(immediates.time);
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
    var sums: array<vec4<f32>, 8>;
    for (var k = 0u; k <= last_k; k += 4u) {
        let w0 = weight[at(params.weight, k, col)];
        let w1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), col)], k + 1u <= last_k);
        let w2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), col)], k + 2u <= last_k);
        let w3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), col)], k + 3u <= last_k);
        for (var r = 0u; r < ROWS; r++) {
            let x = state_at(state + min(row + r, last_row), k);
            sums[r] += x.x * w0 + x.y * w1 + x.z * w2 + x.w * w3;
        }
    }
    for (var r = 0u; r < ROWS && row + r <= last_row; r++) {
        _ = finish(immediates.time, row + r, col, sums[r]);
    }
}
