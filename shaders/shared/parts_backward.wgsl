// The parts of the recurrent sums of a backward step, one below the other: the cell makes the new state of their sum.
struct Params {
    parts: Window,
    d_hidden: Window,
    hidden: Window,
    d_sum: Window,
    batch: u32,
    activation: u32,
    count: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> d_hidden: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> hidden: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> d_sum: array<vec4<f32>>;

fn store(row: u32, col: u32, sum: vec4<f32>) {
    _ = store_state(place(immediates.time, row, col), col, unit(inputs_at(immediates.time, row, col), sum));
}
