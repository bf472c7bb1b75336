// The recurrent sums of a time step: a is a block of the states, `rows` rows each, and b the weight. The sums over parts of k lie one below
// the other in out: sum_parts adds them up and calls the cell.
struct Params {
    a: Window,
    b: Window,
    out: Window,
    k: u32,
    rows: u32,
    chunk: u32,
    later: u32, // 0: the block before the time step, 1: the one behind it
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn row_of_a(row: u32) -> u32 {
    return (immediates.time + params.later) * params.rows + row;
}

fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    out[at(params.out, part * params.rows + row, col)] = padded(sum, col, params.out.cols);
}
