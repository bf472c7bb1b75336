// RMSprop, and Adagrad: v ← kept·v + added·g², w ← w - rate·g / (√v + ε).
struct Params {
    weight: Window,
    gradient: Window,
    v: Window,
    schedule: Window,
    status: Window,
    norm: Window,
    kept: f32,
    added: f32,
    epsilon: f32,
    limit: f32,
    bound: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> status: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let col = column(id, groups);
    if col >= params.weight.cols || halted() {
        return;
    }
    let g = clipped(gradient[at(params.gradient, 0u, col)]);
    let square = params.kept * v[at(params.v, 0u, col)] + params.added * g * g;
    v[at(params.v, 0u, col)] = square;
    weight[at(params.weight, 0u, col)] -= schedule[at(params.schedule, 0u, 0u)].x * g / (sqrt(square) + params.epsilon);
}
