// A block of the tile of a at (row, k), a being [k, m]: 4 rows of the values k, k + 4, k + 8 and k + 12, so that neighbouring threads read
// neighbouring vectors. Rows past the last are the last four again, since their sums are not stored.
fn fetch_a(block: u32, row: u32, k: u32, end: u32) -> mat4x4<f32> {
    let r = min(row + block % (TILE_M / 4u) * 4u, (params.a.cols - 1u) & ~3u);
    let c = k + block / (TILE_M / 4u);
    return mat4x4<f32>(from_a(r, c, end), from_a(r, c + 4u, end), from_a(r, c + 8u, end), from_a(r, c + 12u, end));
}

fn from_a(row: u32, k: u32, end: u32) -> vec4<f32> {
    if k >= end {
        return vec4<f32>();
    }
    return a[at(params.a, k, row)];
}

fn keep_a(block: u32, values: mat4x4<f32>) {
#for c in 0..4
    tile_a[block + $cu * TILE_M] = values[$c];
#end
}
