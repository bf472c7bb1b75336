// out[k, m] = states[m, k] of the block of a time step, 4 × 4 values a thread: so turned, they are what large thread tiles take. Past the last
// sequence the last one is repeated; what is made of that is not stored.
struct Params {
    states: Window,
    out: Window,
    batch: u32,
    later: u32, // 0: the block before the time step, 1: the one behind it
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> states: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let k = 4u * id.x;
    let m = 4u * id.y;
    if k >= params.states.cols {
        return;
    }
    let first = (immediates.time + params.later) * params.batch;
    let last = params.batch - 1u;
    let turned = transpose(mat4x4<f32>(
        states[at(params.states, first + min(m, last), k)],
        states[at(params.states, first + min(m + 1u, last), k)],
        states[at(params.states, first + min(m + 2u, last), k)],
        states[at(params.states, first + min(m + 3u, last), k)],
    ));
#for c in 0..4
    if k + $cu < params.states.cols {
        out[at(params.out, k + $cu, m)] = turned[$c];
    }
#end
}
