// Not part of any network: each entry shows what an adapter makes of something that gives wrong numbers on some of them.
// x has three rows of operands; an invocation computes 4 columns of out.
struct Params {
    x: Window,
    out: Window,
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> sums: array<vec4<f32>, 64>;

fn operand(row: u32, id: u32) -> vec4<f32> {
    return x[at(params.x, row, 4u * id)];
}

fn give(id: u32, value: vec4<f32>) {
    if 4u * id < params.out.cols {
        out[at(params.out, 0u, 4u * id)] = padded(value, 4u * id, params.out.cols);
    }
}

// Σ of the first operand over `count` iterations of one loop.
@compute @workgroup_size(64)
fn loops(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = vec4<f32>();
    for (var i = 0u; i < params.count; i++) {
        sum += operand(0u, (i & 1u) * id.x);
    }
    give(id.x, sum);
}

// Σ of the first operand over the 64 invocations of a workgroup, by a tree.
@compute @workgroup_size(64)
fn reduction(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    sums[i] = operand(0u, id.x);
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if i < half {
            sums[i] += sums[i + half];
        }
        workgroupBarrier();
    }
    give(id.x, sums[0]);
}

@compute @workgroup_size(64)
fn quotient(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, operand(0u, id.x) / operand(1u, id.x));
}

@compute @workgroup_size(64)
fn root(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, sqrt(operand(0u, id.x)));
}

@compute @workgroup_size(64)
fn logarithm(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, log(operand(0u, id.x)));
}

@compute @workgroup_size(64)
fn nan_by_bits(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, select(vec4<f32>(), vec4<f32>(1.0), is_nan(operand(0u, id.x))));
}

@compute @workgroup_size(64)
fn nan_by_comparison(@builtin(global_invocation_id) id: vec3<u32>) {
    let value = operand(0u, id.x);
    give(id.x, select(vec4<f32>(), vec4<f32>(1.0), value != value));
}

@compute @workgroup_size(64)
fn clamped(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, clamp(operand(0u, id.x), vec4<f32>(-9.0), vec4<f32>(9.0)));
}

@compute @workgroup_size(64)
fn maximum(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, max(operand(0u, id.x), vec4<f32>()));
}

// The builtin, which nothing else here uses: see rational_tanh.
@compute @workgroup_size(64)
fn builtin_tanh(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, tanh(operand(0u, id.x)));
}

@compute @workgroup_size(64)
fn product(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, operand(0u, id.x) * operand(1u, id.x));
}

@compute @workgroup_size(64)
fn product_and_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, operand(0u, id.x) * operand(1u, id.x) + operand(2u, id.x));
}

@compute @workgroup_size(64)
fn beyond(@builtin(global_invocation_id) id: vec3<u32>) {
    give(id.x, x[arrayLength(&x) + id.x]);
}
