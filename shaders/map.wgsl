// out = φ(x), or out = d·φ′ from h = φ: an invocation computes 4 columns.
struct Params {
    x: Window,
    out: Window,
    activation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn value(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y < params.x.rows && col < params.x.cols {
        let h = activate(params.activation, x[at(params.x, id.y, col)]);
        out[at(params.out, id.y, col)] = padded(h, col, params.x.cols);
    }
}

@compute @workgroup_size(8, 8)
fn gradient(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y < params.x.rows && col < params.x.cols {
        let i = at(params.out, id.y, col);
        out[i] *= derivative(params.activation, x[at(params.x, id.y, col)]);
    }
}
