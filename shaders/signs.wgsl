// What has the wrong sign becomes zero: an invocation writes 4 columns, of which those of excitatory units are at least zero and the others at most.
struct Params {
    weight: Window,
    excitatory: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.weight.rows || col >= params.weight.cols {
        return;
    }
    let i = at(params.weight, id.y, col);
    let value = weight[i];
    let units = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u);
    let is_negative = bitcast<vec4<u32>>(value) >= vec4<u32>(0x80000000u);
    let is_excitatory = units < vec4<u32>(params.excitatory);
    weight[i] = select(value, vec4<f32>(), is_negative == is_excitatory);
}
