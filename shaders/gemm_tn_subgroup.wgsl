// out[m, n] = Σ_k a[k, m]·b[k, n] where subgroups are the 8 lanes of a CPU's vector unit: a workgroup is one subgroup and
// computes 16 rows of 32 columns, a lane 4 of the columns. Of two k at a time each lane reads 4 of the 16 values of a, and the
// others get them by broadcast: see gemm_nn_subgroup.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = group.y * 16u;
    let col = (group.x * 8u + lane) * 4u;
    let near = min(col, (params.out.cols - 1u) & ~3u);
    let near_row = min(row + (lane & 3u) * 4u, (params.a.cols - 1u) & ~3u);
    let last_k = params.k - 1u;
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
    for (var k = 0u; k <= last_k; k += 2u) {
        let own = k + (lane >> 2u);
        let mine = select(vec4<f32>(), a[at(params.a, min(own, last_k), near_row)], own <= last_k);
        let u = b[at(params.b, k, near)];
        let v = select(vec4<f32>(), b[at(params.b, min(k + 1u, last_k), near)], k < last_k);
        var x: vec4<f32>;
        x = subgroupBroadcast(mine, 0u);
        s0 += x.x * u;
        s1 += x.y * u;
        s2 += x.z * u;
        s3 += x.w * u;
        x = subgroupBroadcast(mine, 1u);
        s4 += x.x * u;
        s5 += x.y * u;
        s6 += x.z * u;
        s7 += x.w * u;
        x = subgroupBroadcast(mine, 2u);
        s8 += x.x * u;
        s9 += x.y * u;
        s10 += x.z * u;
        s11 += x.w * u;
        x = subgroupBroadcast(mine, 3u);
        s12 += x.x * u;
        s13 += x.y * u;
        s14 += x.z * u;
        s15 += x.w * u;
        x = subgroupBroadcast(mine, 4u);
        s0 += x.x * v;
        s1 += x.y * v;
        s2 += x.z * v;
        s3 += x.w * v;
        x = subgroupBroadcast(mine, 5u);
        s4 += x.x * v;
        s5 += x.y * v;
        s6 += x.z * v;
        s7 += x.w * v;
        x = subgroupBroadcast(mine, 6u);
        s8 += x.x * v;
        s9 += x.y * v;
        s10 += x.z * v;
        s11 += x.w * v;
        x = subgroupBroadcast(mine, 7u);
        s12 += x.x * v;
        s13 += x.y * v;
        s14 += x.z * v;
        s15 += x.w * v;
    }
    if col >= params.out.cols {
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

fn give(row: u32, col: u32, sum: vec4<f32>) {
    if row < params.out.rows {
        store(0u, row, col, sum);
    }
}
