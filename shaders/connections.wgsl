// What has no connection becomes zero: an invocation writes 4 columns.
struct Params {
    mask: Window,
    out: Window,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mask: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.out.rows || col >= params.out.cols {
        return;
    }
    let i = at(params.out, id.y, col);
    out[i] = select(out[i], vec4<f32>(), mask[at(params.mask, id.y, col)] == vec4<f32>());
}
