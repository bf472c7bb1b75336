// out[m, n] = Σ_k a[k, m]·b[k, n]: an invocation computes 8 rows of 4 columns. The rows are the same for a whole
// workgroup, so that a is read once for all lanes; lanes lie along the columns. Columns of a past the end give sums
// that are not stored.
const ROWS: u32 = 8u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * 8u + lane.x) * 4u;
    if col >= params.out.cols {
        return;
    }
    var sums: array<vec4<f32>, 8>;
    for (var k = 0u; k < params.k; k++) {
        let x = a[at(params.a, k, row)];
        let y = a[at(params.a, k, row + 4u)];
        let z = b[at(params.b, k, col)];
        sums[0] += x.x * z;
        sums[1] += x.y * z;
        sums[2] += x.z * z;
        sums[3] += x.w * z;
        sums[4] += y.x * z;
        sums[5] += y.y * z;
        sums[6] += y.z * z;
        sums[7] += y.w * z;
    }
    for (var r = 0u; r < ROWS && row + r < params.out.rows; r++) {
        store(0u, row + r, col, sums[r]);
    }
}
