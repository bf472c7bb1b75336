// out[m, n] = Σ_k a[m, k]·b[k, n]: an invocation computes 8 rows of 4 columns. The rows are the same for a whole
// workgroup, so that a is read once for all lanes; lanes lie along the columns. Past the end rows are read again and
// not stored: a's padding is zero, so a row of b that is read again counts for nothing.
const ROWS: u32 = 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * 8u + lane.x) * 4u;
    if col >= params.out.cols {
        return;
    }
    let last_row = params.out.rows - 1u;
    let last_k = params.k - 1u;
    var sums: array<vec4<f32>, 8>;
    for (var k = 0u; k <= last_k; k += 4u) {
        let b0 = b[at(params.b, k, col)];
        let b1 = b[at(params.b, min(k + 1u, last_k), col)];
        let b2 = b[at(params.b, min(k + 2u, last_k), col)];
        let b3 = b[at(params.b, min(k + 3u, last_k), col)];
        for (var r = 0u; r < ROWS; r++) {
            let x = a[at(params.a, min(row + r, last_row), k)];
            sums[r] += x.x * b0 + x.y * b1 + x.z * b2 + x.w * b3;
        }
    }
    for (var r = 0u; r < ROWS && row + r <= last_row; r++) {
        store(0u, row + r, col, sums[r]);
    }
}
