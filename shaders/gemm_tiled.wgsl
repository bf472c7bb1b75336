// out = Σ_k a·b in tiles of TILE_M × TILE_N: a workgroup brings TILE_K values of k of both into workgroup memory at a time, and
// each thread sums 4 rows of 4 columns. Which way a and b lie is in stage_a and stage_b. Workgroups along z have a part of k each.
const THREADS: u32 = TILE_M * TILE_N / 16u;

var<workgroup> tile_a: array<vec4<f32>, TILE_M * TILE_K / 4u>; // for each k the rows, four in a vector
var<workgroup> tile_b: array<vec4<f32>, TILE_N * TILE_K / 4u>; // for each k the columns

@compute @workgroup_size(TILE_N / 4u, TILE_M / 4u)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let row = group.y * TILE_M;
    let col = group.x * TILE_N;
    let end = min(params.k, (group.z + 1u) * params.chunk);
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = group.z * params.chunk; k < end; k += TILE_K) {
        stage_a(i, row, k, end);
        stage_b(i, k, col, end);
        workgroupBarrier();
        for (var j = 0u; j < TILE_K; j++) {
            let x = tile_a[j * (TILE_M / 4u) + thread.y];
            let y = tile_b[j * (TILE_N / 4u) + thread.x];
            s0 += x.x * y;
            s1 += x.y * y;
            s2 += x.z * y;
            s3 += x.w * y;
        }
        workgroupBarrier();
    }
    let m = row + thread.y * 4u;
    let n = col + thread.x * 4u;
    give(group.z, m, n, s0);
    give(group.z, m + 1u, n, s1);
    give(group.z, m + 2u, n, s2);
    give(group.z, m + 3u, n, s3);
}

fn give(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    if row < params.rows && col < params.out.cols {
        store(part, row, col, sum);
    }
}
