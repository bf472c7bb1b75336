// The parts of a product, one below the other: out = their sum + bias, a row vector; a further piece of the sum over k adds to out.
struct Params {
    parts: Window,
    bias: Window,
    out: Window,
    count: u32,
    lanes: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn store(row: u32, col: u32, sum: vec4<f32>) {
    let i = at(params.out, row, col);
    let base = select(bias[at(params.bias, 0u, col)], out[i], params.accumulate != 0u);
    out[i] = padded(base + sum, col, params.out.cols);
}
