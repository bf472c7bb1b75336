// out = out + factor·x: an invocation adds 4 columns.
struct Params {
    x: Window,
    out: Window,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y < params.x.rows && col < params.x.cols {
        out[at(params.out, id.y, col)] += params.factor * x[at(params.x, id.y, col)];
    }
}
