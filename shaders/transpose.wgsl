// out[c, r] = a[r, c]: an invocation moves a block of 4 × 4.
struct Params {
    a: Window,
    out: Window,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y * 4u;
    let col = id.x * 4u;
    if row >= params.a.rows || col >= params.a.cols {
        return;
    }
    var block: array<vec4<f32>, 4>;
    for (var r = 0u; r < 4u; r++) {
        if row + r < params.a.rows {
            block[r] = a[at(params.a, row + r, col)];
        }
    }
    for (var c = 0u; c < 4u; c++) {
        if col + c < params.a.cols {
            out[at(params.out, col + c, row)] = vec4<f32>(block[0][c], block[1][c], block[2][c], block[3][c]);
        }
    }
}
