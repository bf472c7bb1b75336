// out[m, n] = Σ_k a[m, k]·b[n, k] for at most 8 rows of a: b, which is by far the larger, is read once. A workgroup has 4 rows of
// b, and of those each of 64 threads every 64th four values of k; then the threads' sums are added up, in two rounds.
var<workgroup> sums: array<vec4<f32>, 512>; // 64 threads, 8 rows each
var<workgroup> parts: array<vec4<f32>, 64>; // 8 rows, 8 parts each

fn row(r: u32, k: u32) -> vec4<f32> {
    return a[at(params.a, min(r, params.rows - 1u), k)];
}

// Past the last row of b nothing is stored.
fn column(n: u32, k: u32) -> vec4<f32> {
    return b[at(params.b, min(n, params.b.rows - 1u), k)];
}

fn columns(x: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(dot(x, b0), dot(x, b1), dot(x, b2), dot(x, b3));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let col = group.x * 4u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    for (var k = i * 4u; k < params.k; k += 256u) {
        let b0 = column(col, k);
        let b1 = column(col + 1u, k);
        let b2 = column(col + 2u, k);
        let b3 = column(col + 3u, k);
        s0 += columns(row(0u, k), b0, b1, b2, b3);
        s1 += columns(row(1u, k), b0, b1, b2, b3);
        s2 += columns(row(2u, k), b0, b1, b2, b3);
        s3 += columns(row(3u, k), b0, b1, b2, b3);
        s4 += columns(row(4u, k), b0, b1, b2, b3);
        s5 += columns(row(5u, k), b0, b1, b2, b3);
        s6 += columns(row(6u, k), b0, b1, b2, b3);
        s7 += columns(row(7u, k), b0, b1, b2, b3);
    }
    sums[i * 8u + 0u] = s0;
    sums[i * 8u + 1u] = s1;
    sums[i * 8u + 2u] = s2;
    sums[i * 8u + 3u] = s3;
    sums[i * 8u + 4u] = s4;
    sums[i * 8u + 5u] = s5;
    sums[i * 8u + 6u] = s6;
    sums[i * 8u + 7u] = s7;
    workgroupBarrier();
    // Thread i adds up row i % 8 of every eighth thread from i / 8 on.
    var part = vec4<f32>();
    for (var j = 0u; j < 8u; j++) {
        part += sums[(j * 8u + i / 8u) * 8u + i % 8u];
    }
    parts[i] = part;
    workgroupBarrier();
    if i < params.rows {
        var sum = vec4<f32>();
        for (var j = 0u; j < 8u; j++) {
            sum += parts[j * 8u + i];
        }
        store(0u, i, col, sum);
    }
}
