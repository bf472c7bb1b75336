// The Euclidean norm of a row as m·√s, m its largest value and s = Σ (x/m)², so that nothing overflows or vanishes
// from 1e-30 to 1e30; and the position of its first value that is not finite, as two numbers, high·4096 + low.
// A partial result is (m, s, high, low), high -1 where all is finite.
// This is the first step: an invocation's partial result is of every n-th vector of x.
struct Params {
    x: Window,
    out: Window,
    first: u32, // the position of x's first value
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.out.rows {
        return;
    }
    let vectors = (params.x.cols + 3u) / 4u;
    var m = vec4<f32>();
    var bad = 0xffffffffu;
    for (var i = id.x; i < vectors; i += params.out.rows) {
        let value = x[at(params.x, 0u, 4u * i)];
        m = max(m, abs(value));
        let bits = not_finite(value);
        if any(bits) {
            bad = min(bad, 4u * i + select(select(select(3u, 2u, bits.z), 1u, bits.y), 0u, bits.x));
        }
    }
    // A quotient by more than 2¹²⁶ may be anything, as WGSL has it; a GPU made it zero.
    let largest = min(max(max(m.x, m.y), max(m.z, m.w)), 8.507059173023462e37);
    var s = vec4<f32>();
    for (var i = id.x; i < vectors; i += params.out.rows) {
        let q = select(vec4<f32>(), x[at(params.x, 0u, 4u * i)] / largest, largest > 0.0);
        s += q * q;
    }
    let place = params.first + bad;
    let position = select(vec2<f32>(f32(place / 4096u), f32(place % 4096u)), vec2<f32>(-1.0, 0.0), bad == 0xffffffffu);
    out[at(params.out, id.x, 0u)] = vec4<f32>(largest, (s.x + s.y) + (s.z + s.w), position);
}
