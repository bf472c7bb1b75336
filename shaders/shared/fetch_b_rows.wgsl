// A block of the tile of b at (k, col), b being [k, n]: 4 columns of four values of k, TILE_K / 4 apart, so that neighbouring threads read
// neighbouring vectors. Columns past the last are the last four again, since their sums are not stored.
fn fetch_b(block: u32, k: u32, col: u32, end: u32) -> mat4x4<f32> {
    let r = k + block / (TILE_N / 4u);
    let c = min(col + block % (TILE_N / 4u) * 4u, (params.b.cols - 1u) & ~3u);
    let apart = TILE_K / 4u;
    return mat4x4<f32>(from_b(r, c, end), from_b(r + apart, c, end), from_b(r + 2u * apart, c, end), from_b(r + 3u * apart, c, end));
}

fn from_b(k: u32, col: u32, end: u32) -> vec4<f32> {
    if k >= end {
        return vec4<f32>();
    }
    return b[at(params.b, k, col)];
}

fn keep_b(block: u32, values: mat4x4<f32>) {
#for c in 0..4
    tile_b[block + $cu * B_BLOCKS] = values[$c];
#end
}

fn slot_b(k: u32, four: u32) -> u32 {
    return k * (TILE_N / 4u) + four;
}
