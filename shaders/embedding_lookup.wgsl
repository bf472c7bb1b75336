// out[r] = table[token r] + bias: an invocation moves 4 columns. A piece holds the table's rows from `first` on and
// leaves the other tokens to the others.
struct Params {
    tokens: Window,
    table: Window,
    bias: Window,
    out: Window,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.out.rows || col >= params.out.cols {
        return;
    }
    let row = tokens[params.tokens.offset + id.y] - params.first; // wraps around below `first`
    if row < params.table.rows {
        out[at(params.out, id.y, col)] = table[at(params.table, row, col)] + bias[at(params.bias, 0u, col)];
    }
}
