// Squared error of a row o against v with weight w, the mean over its n components, and its gradient:
// w/n·Σ (o - v)², a piece of the columns at a time, and 2w/n·(o - v), 4 columns an invocation.
// A row of weight zero counts for nothing, whatever it holds.
struct Params {
    outputs: Window,
    values: Window,
    weights: Window,
    d_outputs: Window,
    losses: Window,
    components: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> outputs: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> d_outputs: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> losses: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.outputs.rows || col >= params.outputs.cols {
        return;
    }
    let w = weights[at(params.weights, id.y, 0u)].x;
    let e = outputs[at(params.outputs, id.y, col)] - values[at(params.values, id.y, col)];
    let d = select(2.0 * w / f32(params.components) * e, vec4<f32>(), w == 0.0);
    d_outputs[at(params.d_outputs, id.y, col)] = d;
    if id.x == 0u {
        loss_of(id.y, w);
    }
}

// The first invocation of a row has its loss to sum up.
fn loss_of(row: u32, w: f32) {
    var sum = vec4<f32>();
    for (var col = 0u; col < params.outputs.cols; col += 4u) {
        let e = outputs[at(params.outputs, row, col)] - values[at(params.values, row, col)];
        sum += e * e;
    }
    let i = at(params.losses, row, 0u);
    let base = select(0.0, losses[i].x, params.accumulate != 0u);
    let loss = w * ((sum.x + sum.y) + (sum.z + sum.w)) / f32(params.components);
    losses[i] = vec4<f32>(base + select(loss, 0.0, w == 0.0), 0.0, 0.0, 0.0);
}
