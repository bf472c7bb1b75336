// The tile of b that starts at (k, col), b being [k, n]: thread i brings 4 columns of one k.
fn stage_b(i: u32, k: u32, col: u32) {
    let r = i / (TILE_N / 4u);
    let c = i % (TILE_N / 4u) * 4u;
    var value = vec4<f32>();
    if k + r < params.b.rows && col + c < params.b.cols {
        value = b[at(params.b, k + r, col + c)];
    }
    for (var j = 0u; j < 4u; j++) {
        tile_b[r * TILE_N + c + j] = value[j];
    }
}
