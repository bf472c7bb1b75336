// The tile of a that starts at (row, k), a being [m, k]: a thread brings 4 values of k of 4 rows at a time, and turns them. (To write
// one number of a vector each would be a race: WGSL counts that as a write of the whole vector.)
fn stage_a(i: u32, row: u32, k: u32, end: u32) {
    for (var s = i; s < TILE_M * TILE_K / 16u; s += THREADS) {
        let r = s / (TILE_K / 4u) * 4u;
        let c = s % (TILE_K / 4u) * 4u;
        let turned = transpose(mat4x4<f32>(
            from_a(row + r, k + c, end),
            from_a(row + r + 1u, k + c, end),
            from_a(row + r + 2u, k + c, end),
            from_a(row + r + 3u, k + c, end),
        ));
        let place = c * (TILE_M / 4u) + r / 4u;
        tile_a[place] = turned[0];
        tile_a[place + TILE_M / 4u] = turned[1];
        tile_a[place + TILE_M / 2u] = turned[2];
        tile_a[place + TILE_M / 4u * 3u] = turned[3];
    }
}

fn from_a(row: u32, k: u32, end: u32) -> vec4<f32> {
    if row < params.a.rows && k < end {
        return a[at(params.a, row, k)];
    }
    return vec4<f32>();
}
