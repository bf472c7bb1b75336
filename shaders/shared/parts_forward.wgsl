// The parts of the recurrent sums of a forward step, one below the other: the cell makes the new states of their sums.
struct Params {
    parts: Window,
    input: Window,
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
    batch: u32,
    activation: u32,
    count: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> input: array<vec4<f32>>;
#for c in 0..CONSTANTS
@group(0) @binding(3u + $cu) var<storage, read> constant$c: array<vec4<f32>>;
#end
@group(0) @binding(3u + CONSTANTS) var<storage, read_write> hidden: array<vec4<f32>>;
#for s in 1..STATES
@group(0) @binding(3u + CONSTANTS + $su) var<storage, read_write> state$s: array<vec4<f32>>;
#end
#for x in 0..SAVES
@group(0) @binding(3u + CONSTANTS + STATES) var<storage, read_write> saved: array<vec4<f32>>;
#end
