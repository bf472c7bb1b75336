// A block of the tile of a at (row, k), a being [m, k]: 4 values of k of 4 rows. Rows past the last are the last one again, since their
// sums are not stored.
fn fetch_a(block: u32, row: u32, k: u32, end: u32) -> mat4x4<f32> {
    let r = row + block / (TILE_K / 4u) * 4u;
    let c = k + block % (TILE_K / 4u) * 4u;
    if c >= end {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(from_a(r, c), from_a(r + 1u, c), from_a(r + 2u, c), from_a(r + 3u, c));
}

fn from_a(row: u32, k: u32) -> vec4<f32> {
    return a[at(params.a, row_of_a(min(row, params.rows - 1u)), k)];
}

// Turned, so that four rows of one k lie in a vector. (To write one number of a vector each would be a race: WGSL counts that as a write
// of the whole vector.)
fn keep_a(block: u32, values: mat4x4<f32>) {
    let turned = transpose(values);
    let k = block % (TILE_K / 4u) * 4u;
#for c in 0..4
    tile_a[slot_a(k + $cu, block / (TILE_K / 4u))] = turned[$c];
#end
}

// Neighbouring threads keep groups of other k, which would lie in the same bank: each four values of k have their groups in another order.
fn slot_a(k: u32, four: u32) -> u32 {
    return k * (TILE_M / 4u) + (four ^ (k / 4u * (32u / TILE_K)));
}
