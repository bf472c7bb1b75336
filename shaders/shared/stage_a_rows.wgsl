// The tile of a that starts at (row, k), a being [m, k]: thread i brings 4 values of k of one row.
fn stage_a(i: u32, row: u32, k: u32) {
    let r = i / (TILE_K / 4u);
    let c = i % (TILE_K / 4u) * 4u;
    var value = vec4<f32>();
    if row + r < params.a.rows && k + c < params.a.cols {
        value = a[at(params.a, row + r, k + c)];
    }
    for (var j = 0u; j < 4u; j++) {
        tile_a[(c + j) * TILE_M + r] = value[j];
    }
}
