// One time step of a recurrence, forward (step_forward) or backward (step_backward): an invocation sums
// Σ_k state[m, k]·weight[k, n] for 8 sequences and 4 units, of all gates, then calls the cell. The sequences are the same for a
// whole workgroup; lanes lie along the units. Past the end sequences are computed again and not stored, and rows of the
// weight are zero: one that is read again and infinite would make NaN of the state's padding.
const ROWS: u32 = 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * 8u + lane.x) * 4u;
    if col >= units() {
        return;
    }
    let stride = gate_stride();
    let state = state_row(immediates.time);
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
    var sums: array<Sums, ROWS>;
    for (var k = 0u; k <= last_k; k += 4u) {
#for g in 0..SUMS
        let w$g_0 = weight[at(params.weight, k, $gu * stride + col)];
        let w$g_1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), $gu * stride + col)], k + 1u <= last_k);
        let w$g_2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), $gu * stride + col)], k + 2u <= last_k);
        let w$g_3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), $gu * stride + col)], k + 3u <= last_k);
#end
        for (var r = 0u; r < ROWS; r++) {
            let x = state_at(state + min(row + r, last_row), k);
#for g in 0..SUMS
            sums[r][$g] += x.x * w$g_0 + x.y * w$g_1 + x.z * w$g_2 + x.w * w$g_3;
#end
        }
    }
    for (var r = 0u; r < ROWS && row + r <= last_row; r++) {
        _ = finish(immediates.time, row + r, col, sums[r]);
    }
}
