// A block of the tile of b at (k, col), b being [n, k]: 4 values of k of 4 columns. Columns past the last are the last one again, since
// their sums are not stored.
fn fetch_b(block: u32, k: u32, col: u32, end: u32) -> mat4x4<f32> {
    let r = k + block % (TILE_K / 4u) * 4u;
    let c = col + block / (TILE_K / 4u) * 4u;
    if r >= end {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(from_b(r, c), from_b(r, c + 1u), from_b(r, c + 2u), from_b(r, c + 3u));
}

fn from_b(k: u32, col: u32) -> vec4<f32> {
    return b[at(params.b, min(col, params.b.rows - 1u), k)];
}

// Turned: see fetch_a_rows.
fn keep_b(block: u32, values: mat4x4<f32>) {
    let turned = transpose(values);
    let k = block % (TILE_K / 4u) * 4u;
#for c in 0..4
    tile_b[slot_b(k + $cu, block / (TILE_K / 4u))] = turned[$c];
#end
}

// As slot_a of fetch_a_rows.
fn slot_b(k: u32, four: u32) -> u32 {
    return k * (TILE_N / 4u) + (four ^ (k / 4u * (32u / TILE_K)));
}
