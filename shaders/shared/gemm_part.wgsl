// Sums over a part of k each, one below the other: part p has rows p·rows.. of out. gemm_parts adds them up.
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

fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    out[at(params.out, part * params.rows + row, col)] = padded(sum, col, params.out.cols);
}
