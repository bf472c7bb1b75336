// The tile of b that starts at (k, col), b being [n, k]: thread i brings 4 values of k of one column.
fn stage_b(i: u32, k: u32, col: u32) {
    let r = i / (TILE_K / 4u);
    let c = i % (TILE_K / 4u) * 4u;
    var value = vec4<f32>();
    if col + r < params.b.rows && k + c < params.b.cols {
        value = b[at(params.b, col + r, k + c)];
    }
    for (var j = 0u; j < 4u; j++) {
        tile_b[(c + j) * TILE_N + r] = value[j];
    }
}
