// The further steps of norm_software.wgsl: an invocation's partial result is of a run of partial results; the last step's only
// invocation gives (norm, high, low, 0). The norm of values that are not all finite is NaN.
struct Params {
    x: Window,
    out: Window,
    run: u32,
    last: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.out.rows {
        return;
    }
    let first = id.x * params.run;
    let end = min(first + params.run, params.x.rows);
    var m = 0.0;
    var position = vec2<f32>(-1.0, 0.0);
    for (var i = first; i < end; i++) {
        let part = x[at(params.x, i, 0u)];
        m = max(m, part.x);
        let earlier = part.z < position.x || (part.z == position.x && part.w < position.y);
        if part.z >= 0.0 && (position.x < 0.0 || earlier) {
            position = part.zw;
        }
    }
    var s = 0.0;
    var block = 0.0;
    for (var i = first; i < end; i++) {
        let part = x[at(params.x, i, 0u)];
        let q = select(0.0, part.x / m, m > 0.0);
        block += part.y * q * q;
        if (i & 63u) == 63u {
            s += block;
            block = 0.0;
        }
    }
    let norm = select(m * sqrt(s + block), bitcast<f32>(params.x.rows | 0x7fc00000u), position.x >= 0.0);
    out[at(params.out, id.x, 0u)] = select(vec4<f32>(m, s + block, position), vec4<f32>(norm, position, 0.0), params.last != 0u);
}
