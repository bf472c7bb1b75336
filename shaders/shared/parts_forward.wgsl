// The parts of the recurrent sums of a forward step, one below the other: the cell makes the new state of their sum.
struct Params {
    parts: Window,
    input: Window,
    hidden: Window,
    batch: u32,
    activation: u32,
    count: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> hidden: array<vec4<f32>>;

fn store(row: u32, col: u32, sum: vec4<f32>) {
    _ = store_state(place(immediates.time, row, col), col, unit(inputs_at(immediates.time, row, col), sum));
}
