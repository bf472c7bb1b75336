// What the shaders of a backward recurrence are bound to that multiply and call the cell in one dispatch.
struct Params {
    d_hidden: Window,
    weight: Window,
    hidden: Window,
    d_sum: Window,
    batch: u32,
    activation: u32,
    k: u32,
    more: u32,
    steps: u32,
    chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d_hidden: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> hidden: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> d_sum: array<vec4<f32>>;

fn state_row(time: u32) -> u32 {
    return (time + 1u) * params.batch;
}

fn state_at(row: u32, k: u32) -> vec4<f32> {
    return d_sum[at(params.d_sum, row, params.k + k)];
}

// The time step that is the n-th to be computed.
fn step_at(n: u32) -> u32 {
    return params.steps - 1u - n;
}
