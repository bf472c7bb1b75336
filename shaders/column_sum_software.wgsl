// out[col] = Σ x[row, col] (+ out): a workgroup has 32 columns, and each of its 32 rows of threads every 32nd row of x; then those
// sums are added up in order.
struct Params {
    x: Window,
    out: Window,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> sums: array<vec4<f32>, 256>; // 32 rows of threads, 8 columns of them

@compute @workgroup_size(8, 32)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let col = (group.x * 8u + thread.x) * 4u;
    var sum = vec4<f32>();
    if col < params.x.cols {
        for (var row = thread.y; row < params.x.rows; row += 32u) {
            sum += x[at(params.x, row, col)];
        }
    }
    sums[i] = sum;
    workgroupBarrier();
    if thread.y > 0u || col >= params.x.cols {
        return;
    }
    for (var part = 1u; part < 32u; part++) {
        sum += sums[part * 8u + thread.x];
    }
    let place = at(params.out, 0u, col);
    out[place] = select(sum, out[place] + sum, params.accumulate != 0u);
}
