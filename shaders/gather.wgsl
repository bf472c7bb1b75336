// out[r] = x[rows[r]], or zero where rows[r] is no row: an invocation moves 4 columns. A piece holds the rows of x from `first` on and
// leaves the others to the others; the one of the first rows writes the zeros.
struct Params {
    rows: Window,
    x: Window,
    out: Window,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const NO_ROW = 0xffffffffu;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.out.rows || col >= params.out.cols {
        return;
    }
    let index = rows[params.rows.offset + id.y];
    let row = index - params.first; // wraps around below `first`
    if index == NO_ROW && params.first == 0u {
        out[at(params.out, id.y, col)] = vec4<f32>();
    }
    if index != NO_ROW && row < params.x.rows {
        out[at(params.out, id.y, col)] = x[at(params.x, row, col)];
    }
}
