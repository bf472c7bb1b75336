// out = Σ_k a·b in tiles of 64 × 64: a workgroup of 16 × 16 threads brings 16 values of k of both into workgroup
// memory at a time, and each thread sums 4 rows of 4 columns. Which way a and b lie is in stage_a and stage_b.
const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 16u;

var<workgroup> tile_a: array<f32, 1024>;
var<workgroup> tile_b: array<f32, 1024>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let row = group.y * TILE_M;
    let col = group.x * TILE_N;
    var sums: array<vec4<f32>, 4>;
    for (var k = 0u; k < params.k; k += TILE_K) {
        stage_a(i, row, k);
        stage_b(i, k, col);
        workgroupBarrier();
        for (var j = 0u; j < TILE_K; j++) {
            let p = j * TILE_N + thread.x * 4u;
            let y = vec4<f32>(tile_b[p], tile_b[p + 1u], tile_b[p + 2u], tile_b[p + 3u]);
            let q = j * TILE_M + thread.y * 4u;
            sums[0] += tile_a[q] * y;
            sums[1] += tile_a[q + 1u] * y;
            sums[2] += tile_a[q + 2u] * y;
            sums[3] += tile_a[q + 3u] * y;
        }
        workgroupBarrier();
    }
    let c = col + thread.x * 4u;
    if c >= params.out.cols {
        return;
    }
    for (var r = 0u; r < 4u; r++) {
        let m = row + thread.y * 4u + r;
        if m < params.out.rows {
            store(m, c, sums[r]);
        }
    }
}
