// out = value, or out = x: an invocation writes 4 columns.
struct Params {
    out: Window,
    value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y < params.out.rows && col < params.out.cols {
        out[at(params.out, id.y, col)] = padded(vec4<f32>(params.value), col, params.out.cols);
    }
}
