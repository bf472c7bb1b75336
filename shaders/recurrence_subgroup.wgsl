// One time step of a recurrence, forward (step_forward) or backward (step_backward), where subgroups are the 8 lanes of a CPU's
// vector unit: a workgroup is one subgroup and computes 4 units a lane for 16 sequences. Each lane reads the states of sequences
// of its own, and the others get them by broadcast: see gemm_nn_subgroup.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = group.y * 16u;
    let col = (group.x * 8u + lane) * 4u;
    let near = min(col, (params.weight.cols - 1u) & ~3u);
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
    let first = state_row(immediates.time) + min(row + lane, last_row);
    let second = state_row(immediates.time) + min(row + 8u + lane, last_row);
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    var s8 = vec4<f32>();
    var s9 = vec4<f32>();
    var s10 = vec4<f32>();
    var s11 = vec4<f32>();
    var s12 = vec4<f32>();
    var s13 = vec4<f32>();
    var s14 = vec4<f32>();
    var s15 = vec4<f32>();
    for (var k = 0u; k <= last_k; k += 4u) {
        let w0 = weight[at(params.weight, k, near)];
        let w1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), near)], k + 1u <= last_k);
        let w2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), near)], k + 2u <= last_k);
        let w3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), near)], k + 3u <= last_k);
        let x = state_at(first, k);
        let y = state_at(second, k);
        s0 += four(subgroupBroadcast(x, 0u), w0, w1, w2, w3);
        s1 += four(subgroupBroadcast(x, 1u), w0, w1, w2, w3);
        s2 += four(subgroupBroadcast(x, 2u), w0, w1, w2, w3);
        s3 += four(subgroupBroadcast(x, 3u), w0, w1, w2, w3);
        s4 += four(subgroupBroadcast(x, 4u), w0, w1, w2, w3);
        s5 += four(subgroupBroadcast(x, 5u), w0, w1, w2, w3);
        s6 += four(subgroupBroadcast(x, 6u), w0, w1, w2, w3);
        s7 += four(subgroupBroadcast(x, 7u), w0, w1, w2, w3);
        s8 += four(subgroupBroadcast(y, 0u), w0, w1, w2, w3);
        s9 += four(subgroupBroadcast(y, 1u), w0, w1, w2, w3);
        s10 += four(subgroupBroadcast(y, 2u), w0, w1, w2, w3);
        s11 += four(subgroupBroadcast(y, 3u), w0, w1, w2, w3);
        s12 += four(subgroupBroadcast(y, 4u), w0, w1, w2, w3);
        s13 += four(subgroupBroadcast(y, 5u), w0, w1, w2, w3);
        s14 += four(subgroupBroadcast(y, 6u), w0, w1, w2, w3);
        s15 += four(subgroupBroadcast(y, 7u), w0, w1, w2, w3);
    }
    if col >= params.weight.cols {
        return;
    }
    give(row + 0u, col, s0);
    give(row + 1u, col, s1);
    give(row + 2u, col, s2);
    give(row + 3u, col, s3);
    give(row + 4u, col, s4);
    give(row + 5u, col, s5);
    give(row + 6u, col, s6);
    give(row + 7u, col, s7);
    give(row + 8u, col, s8);
    give(row + 9u, col, s9);
    give(row + 10u, col, s10);
    give(row + 11u, col, s11);
    give(row + 12u, col, s12);
    give(row + 13u, col, s13);
    give(row + 14u, col, s14);
    give(row + 15u, col, s15);
}

fn give(sequence: u32, col: u32, sum: vec4<f32>) {
    if sequence < params.batch {
        _ = finish(immediates.time, sequence, col, sum);
    }
}
