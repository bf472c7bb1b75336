// A block of the tile of a at (row, k), a being [k, m]: 4 rows of four values of k, TILE_K / 4 apart, so that neighbouring threads read
// neighbouring vectors. Rows past the last are the last four again, since their sums are not stored.
fn fetch_a(block: u32, row: u32, k: u32, end: u32) -> mat4x4<f32> {
    let r = min(row + block % (TILE_M / 4u) * 4u, (params.a.cols - 1u) & ~3u);
    let c = k + block / (TILE_M / 4u);
    let apart = TILE_K / 4u;
    return mat4x4<f32>(from_a(r, c, end), from_a(r, c + apart, end), from_a(r, c + 2u * apart, end), from_a(r, c + 3u * apart, end));
}

fn from_a(row: u32, k: u32, end: u32) -> vec4<f32> {
    if k >= end {
        return vec4<f32>();
    }
    return a[at(params.a, k, row)];
}

fn keep_a(block: u32, values: mat4x4<f32>) {
#for c in 0..4
    tile_a[block + $cu * A_BLOCKS] = values[$c];
#end
}

fn slot_a(k: u32, four: u32) -> u32 {
    return k * (TILE_M / 4u) + four;
}
