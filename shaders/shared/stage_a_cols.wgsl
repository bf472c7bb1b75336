// The tile of a that starts at (row, k), a being [k, m]: thread i brings 4 rows of one k.
fn stage_a(i: u32, row: u32, k: u32) {
    let r = i / (TILE_M / 4u);
    let c = i % (TILE_M / 4u) * 4u;
    var value = vec4<f32>();
    if k + r < params.a.rows && row + c < params.a.cols {
        value = a[at(params.a, k + r, row + c)];
    }
    for (var j = 0u; j < 4u; j++) {
        tile_a[r * TILE_M + c + j] = value[j];
    }
}
