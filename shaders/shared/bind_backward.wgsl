// What the shaders of a backward recurrence are bound to that multiply and call the cell in one dispatch.
struct Params {
    @align(16) d_hidden: Window, // elements of arrays in uniforms begin at multiples of 16: see wgsl_for_pair
    weight: Window,
#for c in 0..CONSTANTS
    constant$c: Window,
#end
#for k in 0..KEPT
    kept$k: Window,
#end
#for x in 0..SAVES
    saved: Window,
#end
    d_sum: Window,
#for d in 0..DIRECT
    d_state$d: Window,
#end
#for x in 0..DISTINCT
    d_input: Window,
#end
#for w in 0..WAITS
    given_up: Window,
#end
    batch: u32,
    activation: u32,
#for x in WAITS..1
    k: u32,
    more: u32,
#end
    steps: u32,
    chunk: u32,
#for w in 0..WAITS
    sequences: u32,
    at_once: u32,
    patience: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d_hidden: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
#for c in 0..CONSTANTS
@group(0) @binding(3u + $cu) var<storage, read> constant$c: array<vec4<f32>>;
#end
#for k in 0..KEPT
@group(0) @binding(3u + CONSTANTS + $ku) var<storage, read> kept$k: array<vec4<f32>>;
#end
#for x in 0..SAVES
@group(0) @binding(3u + CONSTANTS + KEPT) var<storage, read> saved: array<vec4<f32>>;
#end
@group(0) @binding(3u + CONSTANTS + KEPT + SAVES) var<storage, read_write> d_sum: array<StateWord>;
#for d in 0..DIRECT
@group(0) @binding(4u + CONSTANTS + KEPT + SAVES + $du) var<storage, read_write> d_state$d: array<vec4<f32>>;
#end
#for x in 0..DISTINCT
@group(0) @binding(4u + CONSTANTS + KEPT + SAVES + DIRECT) var<storage, read_write> d_input: array<vec4<f32>>;
#end
#for w in 0..WAITS
@group(0) @binding(4u + CONSTANTS + KEPT + SAVES + DIRECT + DISTINCT) var<storage, read_write> given_up: array<atomic<u32>>;
#end

fn state_row(time: u32) -> u32 {
    return (time + 1u) * params.batch;
}

// The time step that is the n-th to be computed.
fn step_at(n: u32) -> u32 {
    return params.steps - 1u - n;
}
