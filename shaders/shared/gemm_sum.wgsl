// out = a·b, or out + a·b; or the sums over parts of k, one below the other: part p has rows p·rows.. of out. sum_parts adds them up.
struct Params {
    a: Window,
    b: Window,
    out: Window,
    k: u32,
    accumulate: u32,
    rows: u32,
    chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn row_of_a(row: u32) -> u32 {
    return row;
}

fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    let i = at(params.out, part * params.rows + row, col);
    out[i] = padded(select(sum, out[i] + sum, params.accumulate != 0u), col, params.out.cols);
}
