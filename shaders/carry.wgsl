// The last `rows` rows of hidden become its first, in place: an invocation moves 4 columns. They do not overlap.
struct Params {
    hidden: Window,
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> hidden: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y < params.rows && col < params.hidden.cols {
        let last = params.hidden.rows - params.rows + id.y;
        hidden[at(params.hidden, id.y, col)] = hidden[at(params.hidden, last, col)];
    }
}
