// Rows of padding become zero: an invocation writes 4 columns. Row r of the piece is row `first` + r of a window of as many sequences as
// there are lengths: time step (first + r) / sequences of sequence (first + r) % sequences.
struct Params {
    lengths: Window,
    out: Window,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.out.rows || col >= params.out.cols {
        return;
    }
    let row = params.first + id.y;
    let sequences = params.lengths.cols;
    if row / sequences >= lengths[params.lengths.offset + row % sequences] {
        out[at(params.out, id.y, col)] = vec4<f32>();
    }
}
