// The parts of the recurrent sums of a backward step, one below the other: the cell makes the new gradients of their sums.
struct Params {
    parts: Window,
    d_hidden: Window,
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
    batch: u32,
    activation: u32,
    count: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> d_hidden: array<vec4<f32>>;
#for c in 0..CONSTANTS
@group(0) @binding(3u + $cu) var<storage, read> constant$c: array<vec4<f32>>;
#end
#for k in 0..KEPT
@group(0) @binding(3u + CONSTANTS + $ku) var<storage, read> kept$k: array<vec4<f32>>;
#end
#for x in 0..SAVES
@group(0) @binding(3u + CONSTANTS + KEPT) var<storage, read> saved: array<vec4<f32>>;
#end
@group(0) @binding(3u + CONSTANTS + KEPT + SAVES) var<storage, read_write> d_sum: array<vec4<f32>>;
#for d in 0..DIRECT
@group(0) @binding(4u + CONSTANTS + KEPT + SAVES + $du) var<storage, read_write> d_state$d: array<vec4<f32>>;
#end
#for x in 0..DISTINCT
@group(0) @binding(4u + CONSTANTS + KEPT + SAVES + DIRECT) var<storage, read_write> d_input: array<vec4<f32>>;
#end
