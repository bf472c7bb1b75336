// The tile of b that starts at (k, col), b being [k, n]: a thread brings 4 columns of one k at a time.
fn stage_b(i: u32, k: u32, col: u32, end: u32) {
    for (var s = i; s < TILE_N * TILE_K / 4u; s += THREADS) {
        let r = s / (TILE_N / 4u);
        let c = s % (TILE_N / 4u) * 4u;
        var value = vec4<f32>();
        if k + r < end && col + c < params.b.cols {
            value = b[at(params.b, k + r, col + c)];
        }
        tile_b[s] = value;
    }
}
