// The parts of a product, one below the other: out = their sum, or out + that.
struct Params {
    parts: Window,
    out: Window,
    count: u32,
    lanes: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

fn store(row: u32, col: u32, sum: vec4<f32>) {
    let i = at(params.out, row, col);
    out[i] = padded(select(sum, out[i] + sum, params.accumulate != 0u), col, params.out.cols);
}
