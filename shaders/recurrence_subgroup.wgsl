// One time step of a recurrence, forward (step_forward) or backward (step_backward), where subgroups are the 8 lanes of a CPU's
// vector unit: a workgroup is one subgroup and computes 4 units a lane, of all gates, for 8 sequences or twice as many. Each lane reads the
// states of sequences of its own, and the others get them by broadcast: see gemm_nn_subgroup.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = group.y * 8u * HALVES;
    let col = (group.x * 8u + lane) * 4u;
    let near = min(col, (units() - 1u) & ~3u);
    let stride = gate_stride();
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
#for h in 0..HALVES
    let state$h = state_row(immediates.time) + min(row + $hu * 8u + lane, last_row);
#for r in 0..8
#for g in 0..SUMS
    var s$h_$r_$g = vec4<f32>();
#end
#end
#end
    for (var k = 0u; k <= last_k; k += 4u) {
#for g in 0..SUMS
        let w$g_0 = weight[at(params.weight, k, $gu * stride + near)];
        let w$g_1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), $gu * stride + near)], k + 1u <= last_k);
        let w$g_2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), $gu * stride + near)], k + 2u <= last_k);
        let w$g_3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), $gu * stride + near)], k + 3u <= last_k);
#end
#for h in 0..HALVES
        let x$h = state_at(state$h, k);
#for r in 0..8
        let x$h_$r = subgroupBroadcast(x$h, $ru);
#for g in 0..SUMS
        s$h_$r_$g += four(x$h_$r, w$g_0, w$g_1, w$g_2, w$g_3);
#end
#end
#end
    }
    if col >= units() {
        return;
    }
#for h in 0..HALVES
#for r in 0..8
    finish_inside(row + $hu * 8u + $ru, col, Sums(
#for g in 0..SUMS
        s$h_$r_$g,
#end
    ));
#end
#end
}

fn finish_inside(sequence: u32, col: u32, sums: Sums) {
    if sequence < params.batch {
        _ = finish(immediates.time, sequence, col, sums);
    }
}
