// out[block, col] = Σ x[row, col] over the rows of a block, ascending (+ out): an invocation sums 4 columns of a block.
struct Params {
    x: Window,
    out: Window,
    block: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if col >= params.x.cols {
        return;
    }
    let first = id.y * params.block;
    let end = min(first + params.block, params.x.rows);
    var sum = vec4<f32>();
    for (var row = first; row < end; row++) {
        sum += x[at(params.x, row, col)];
    }
    let i = at(params.out, id.y, col);
    out[i] = select(sum, out[i] + sum, params.accumulate != 0u);
}
