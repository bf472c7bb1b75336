// The tile of a that starts at (row, k), a being [k, m]: a thread brings 4 rows of one k at a time.
fn stage_a(i: u32, row: u32, k: u32, end: u32) {
    for (var s = i; s < TILE_M * TILE_K / 4u; s += THREADS) {
        let r = s / (TILE_M / 4u);
        let c = s % (TILE_M / 4u) * 4u;
        var value = vec4<f32>();
        if k + r < end && row + c < params.a.cols {
            value = a[at(params.a, k + r, row + c)];
        }
        tile_a[s] = value;
    }
}
