// out = a·b + bias, a row vector; a further piece of the sum over k adds to out.
struct Params {
    a: Window,
    b: Window,
    bias: Window,
    out: Window,
    k: u32,
    accumulate: u32,
    rows: u32,
    chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

fn row_of_a(row: u32) -> u32 {
    return row;
}

fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    let i = at(params.out, row, col);
    let base = select(bias[at(params.bias, 0u, col)], out[i], params.accumulate != 0u);
    out[i] = padded(base + sum, col, params.out.cols);
}
