// Writes (loss, norm, high, low) of a step into its row of the history, and halts training for good where the loss or
// the norm is not finite. One invocation.
struct Params {
    loss: Window,
    norm: Window,
    schedule: Window,
    status: Window,
    history: Window,
    first: u32, // of the history's rows, the one that this piece begins with
    rows: u32, // all of them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> loss: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> status: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> history: array<vec4<f32>>;

@compute @workgroup_size(1)
fn main() {
    let l = loss[at(params.loss, 0u, 0u)].x;
    let n = norm[at(params.norm, 0u, 0u)];
    if any(not_finite(vec4<f32>(l, n.x, 0.0, 0.0))) {
        status[at(params.status, 0u, 0u)] = vec4<f32>(1.0, 0.0, 0.0, 0.0);
    }
    // Once halted, every later entry says so. NaN from a value that compilers do not know: a constant would be refused.
    let halted = status[at(params.status, 0u, 0u)].x != 0.0;
    let reported = select(n.x, bitcast<f32>(params.history.rows | 0x7fc00000u), halted);
    let row = u32(clamp(schedule[at(params.schedule, 0u, 0u)].w, 0.0, f32(params.rows - 1u))) - params.first; // may wrap around
    if row < params.history.rows {
        history[at(params.history, row, 0u)] = vec4<f32>(l, reported, n.y, n.z);
    }
}
