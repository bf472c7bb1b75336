// out[m, n] = Σ_k a[m, k]·b[k, n] where subgroups are the 8 lanes of a CPU's vector unit: a workgroup is one subgroup and
// computes 16 rows of 32 columns, a lane 4 of the columns. Loads are what takes the time there, whether lanes read the same or not: so
// each lane reads rows of a of its own, and the others get their values by broadcast. Unrolled,
// since a lane must be a constant, and arrays that are indexed in a loop live in memory there.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = group.y * 16u;
    let col = (group.x * 8u + lane) * 4u;
    // Past the end the last are computed again and not stored: no lane may be missing where the others need its values.
    let near = min(col, (params.out.cols - 1u) & ~3u);
    let last_row = params.out.rows - 1u;
    let last_k = params.k - 1u;
    let first = at(params.a, min(row + lane, last_row), 0u);
    let second = at(params.a, min(row + 8u + lane, last_row), 0u);
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
        let b0 = b[at(params.b, k, near)];
        let b1 = select(vec4<f32>(), b[at(params.b, min(k + 1u, last_k), near)], k + 1u <= last_k);
        let b2 = select(vec4<f32>(), b[at(params.b, min(k + 2u, last_k), near)], k + 2u <= last_k);
        let b3 = select(vec4<f32>(), b[at(params.b, min(k + 3u, last_k), near)], k + 3u <= last_k);
        let x = a[first + (k >> 2u)];
        let y = a[second + (k >> 2u)];
        s0 += four(subgroupBroadcast(x, 0u), b0, b1, b2, b3);
        s1 += four(subgroupBroadcast(x, 1u), b0, b1, b2, b3);
        s2 += four(subgroupBroadcast(x, 2u), b0, b1, b2, b3);
        s3 += four(subgroupBroadcast(x, 3u), b0, b1, b2, b3);
        s4 += four(subgroupBroadcast(x, 4u), b0, b1, b2, b3);
        s5 += four(subgroupBroadcast(x, 5u), b0, b1, b2, b3);
        s6 += four(subgroupBroadcast(x, 6u), b0, b1, b2, b3);
        s7 += four(subgroupBroadcast(x, 7u), b0, b1, b2, b3);
        s8 += four(subgroupBroadcast(y, 0u), b0, b1, b2, b3);
        s9 += four(subgroupBroadcast(y, 1u), b0, b1, b2, b3);
        s10 += four(subgroupBroadcast(y, 2u), b0, b1, b2, b3);
        s11 += four(subgroupBroadcast(y, 3u), b0, b1, b2, b3);
        s12 += four(subgroupBroadcast(y, 4u), b0, b1, b2, b3);
        s13 += four(subgroupBroadcast(y, 5u), b0, b1, b2, b3);
        s14 += four(subgroupBroadcast(y, 6u), b0, b1, b2, b3);
        s15 += four(subgroupBroadcast(y, 7u), b0, b1, b2, b3);
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
