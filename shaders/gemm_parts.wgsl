// out = Σ_p x[p·rows + m, n], or out + that, p ascending: an invocation adds up 4 columns of 8 rows, a workgroup
// 32 columns of 64.
struct Params {
    x: Window,
    out: Window,
    parts: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let col = (group.x * 8u + thread.x) * 4u;
    if col >= params.out.cols {
        return;
    }
    for (var row = group.y * 64u + thread.y; row < min(params.out.rows, (group.y + 1u) * 64u); row += 8u) {
        var sum = vec4<f32>();
        for (var p = 0u; p < params.parts; p++) {
            sum += x[at(params.x, p * params.out.rows + row, col)];
        }
        let i = at(params.out, row, col);
        out[i] = padded(select(sum, out[i] + sum, params.accumulate != 0u), col, params.out.cols);
    }
}
