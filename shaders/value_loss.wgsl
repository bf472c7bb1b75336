// The loss of a row o against v with weight w, the mean of a penalty over its n components, and its gradient:
// w/n·Σ p(o, v), a piece of the columns at a time, and w/n·∂p/∂o, 4 columns an invocation.
// A row of weight zero counts for nothing, whatever it holds. A penalty of NaN is NaN.
struct Params {
    outputs: Window,
    values: Window,
    weights: Window,
    constants: Window,
    d_outputs: Window,
    losses: Window,
    penalty: u32,
    components: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> outputs: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> constants: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> d_outputs: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> losses: array<vec4<f32>>;

const SQUARED: u32 = 0u;
const ABSOLUTE: u32 = 1u;
const HUBER: u32 = 2u;
const BINARY: u32 = 3u;
// The pinball loss is the last.

// The penalty p of 4 outputs o and targets v, with the numbers k of their columns.
fn penalty_of(o: vec4<f32>, v: vec4<f32>, k: vec4<f32>) -> vec4<f32> {
    let e = o - v;
    var p = select(-k * e, (1.0 - k) * e, e > vec4<f32>());
    switch params.penalty {
        case SQUARED: {
            p = e * e;
        }
        case ABSOLUTE: {
            p = abs(e);
        }
        case HUBER: {
            p = select(0.5 * e * e, k * (abs(e) - 0.5 * k), abs(e) > k);
        }
        case BINARY: {
            p = max(o, vec4<f32>()) - o * v + log(1.0 + exp_nonpositive(-abs(o)));
        }
        default: {}
    }
    return select(p, e, is_nan(e));
}

// ∂p/∂o; 0 at a corner.
fn slope_of(o: vec4<f32>, v: vec4<f32>, k: vec4<f32>) -> vec4<f32> {
    let e = o - v;
    var slope = select(select(vec4<f32>(), -k, e < vec4<f32>()), 1.0 - k, e > vec4<f32>());
    switch params.penalty {
        case SQUARED: {
            slope = 2.0 * e;
        }
        case ABSOLUTE: {
            slope = sign(e);
        }
        case HUBER: {
            slope = select(e, k * sign(e), abs(e) > k);
        }
        case BINARY: {
            let t = exp_nonpositive(-abs(o));
            slope = select(t, vec4<f32>(1.0), o > vec4<f32>()) / (1.0 + t) - v;
        }
        default: {}
    }
    return select(slope, e, is_nan(e));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.outputs.rows || col >= params.outputs.cols {
        return;
    }
    let w = weights[at(params.weights, id.y, 0u)].x;
    let o = outputs[at(params.outputs, id.y, col)];
    let v = values[at(params.values, id.y, col)];
    let slope = slope_of(o, v, constants[at(params.constants, 0u, col)]);
    let d = select(w / f32(params.components) * slope, vec4<f32>(), w == 0.0);
    d_outputs[at(params.d_outputs, id.y, col)] = padded(d, col, params.outputs.cols);
    if id.x == 0u {
        write_loss(id.y, w);
    }
}

// The first invocation of a row sums up its loss.
fn write_loss(row: u32, w: f32) {
    var sum = vec4<f32>();
    for (var col = 0u; col < params.outputs.cols; col += 4u) {
        let o = outputs[at(params.outputs, row, col)];
        let v = values[at(params.values, row, col)];
        let p = penalty_of(o, v, constants[at(params.constants, 0u, col)]);
        sum += padded(p, col, params.outputs.cols);
    }
    let i = at(params.losses, row, 0u);
    let base = select(0.0, losses[i].x, params.accumulate != 0u);
    let loss = w * ((sum.x + sum.y) + (sum.z + sum.w)) / f32(params.components);
    losses[i] = vec4<f32>(base + select(loss, 0.0, w == 0.0), 0.0, 0.0, 0.0);
}
