// The tile of b that starts at (k, col), b being [n, k]: a thread brings 4 values of k of 4 columns at a time, and turns them: see
// stage_a_rows.
fn stage_b(i: u32, k: u32, col: u32, end: u32) {
    for (var s = i; s < TILE_N * TILE_K / 16u; s += THREADS) {
        let r = s / (TILE_K / 4u) * 4u;
        let c = s % (TILE_K / 4u) * 4u;
        let turned = transpose(mat4x4<f32>(
            from_b(col + r, k + c, end),
            from_b(col + r + 1u, k + c, end),
            from_b(col + r + 2u, k + c, end),
            from_b(col + r + 3u, k + c, end),
        ));
        let place = c * (TILE_N / 4u) + r / 4u;
        tile_b[place] = turned[0];
        tile_b[place + TILE_N / 4u] = turned[1];
        tile_b[place + TILE_N / 2u] = turned[2];
        tile_b[place + TILE_N / 4u * 3u] = turned[3];
    }
}

fn from_b(col: u32, k: u32, end: u32) -> vec4<f32> {
    if col < params.b.rows && k < end {
        return b[at(params.b, col, k)];
    }
    return vec4<f32>();
}
