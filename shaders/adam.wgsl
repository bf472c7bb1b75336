// Adam: m ← β1·m + (1-β1)·g, v ← β2·v + (1-β2)·g², w ← (1 - rate·decay)·w - rate·c1·m / (√(c2·v) + ε), with the corrections c1 and c2.
struct Params {
    weight: Window,
    gradient: Window,
    m: Window,
    v: Window,
    schedule: Window,
    status: Window,
    norm: Window,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    limit: f32,
    bound: f32,
    decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> status: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> norm: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let col = column(id, groups);
    if col >= params.weight.cols || halted() {
        return;
    }
    let g = clipped(gradient[at(params.gradient, 0u, col)]);
    let mean = params.beta1 * m[at(params.m, 0u, col)] + (1.0 - params.beta1) * g;
    let square = params.beta2 * v[at(params.v, 0u, col)] + (1.0 - params.beta2) * g * g;
    m[at(params.m, 0u, col)] = mean;
    v[at(params.v, 0u, col)] = square;
    let now = schedule[at(params.schedule, 0u, 0u)];
    let kept = (1.0 - now.x * params.decay) * weight[at(params.weight, 0u, col)];
    weight[at(params.weight, 0u, col)] = kept - now.x * now.y * mean / (sqrt(now.z * square) + params.epsilon);
}
