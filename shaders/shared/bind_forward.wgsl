// What the shaders of a forward recurrence are bound to that multiply and call the cell in one dispatch.
struct Params {
    @align(16) input: Window, // elements of arrays in uniforms begin at multiples of 16: see wgsl_for_pair
    weight: Window,
#for c in 0..CONSTANTS
    constant$c: Window,
#end
    hidden: Window,
#for s in 1..STATES
    state$s: Window,
#end
#for x in 0..SAVES
    saved: Window,
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
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
#for c in 0..CONSTANTS
@group(0) @binding(3u + $cu) var<storage, read> constant$c: array<vec4<f32>>;
#end
@group(0) @binding(3u + CONSTANTS) var<storage, read_write> hidden: array<StateWord>;
#for s in 1..STATES
@group(0) @binding(3u + CONSTANTS + $su) var<storage, read_write> state$s: array<vec4<f32>>;
#end
#for x in 0..SAVES
@group(0) @binding(3u + CONSTANTS + STATES) var<storage, read_write> saved: array<vec4<f32>>;
#end
#for w in 0..WAITS
@group(0) @binding(3u + CONSTANTS + STATES + SAVES) var<storage, read_write> given_up: array<atomic<u32>>;
#end

fn state_row(time: u32) -> u32 {
    return time * params.batch;
}

// The time step that is the n-th to be computed.
fn step_at(n: u32) -> u32 {
    return n;
}
