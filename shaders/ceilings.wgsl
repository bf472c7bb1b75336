// Not part of any network: how fast an adapter multiplies and adds. Each of x's elements becomes x·a + b, `rounds` times; an
// invocation has 8 independent chains of vectors of four, so that no operation waits for the one before.
struct Params {
    x: Window,
    rounds: u32,
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    if 32u * id.x >= params.x.cols {
        return;
    }
    let start = at(params.x, id.y, 32u * id.x);
    let a = vec4<f32>(params.a);
    let b = vec4<f32>(params.b);
    var v0 = x[start];
    var v1 = x[start + 1u];
    var v2 = x[start + 2u];
    var v3 = x[start + 3u];
    var v4 = x[start + 4u];
    var v5 = x[start + 5u];
    var v6 = x[start + 6u];
    var v7 = x[start + 7u];
    for (var i = 0u; i < params.rounds; i++) {
        v0 = v0 * a + b;
        v1 = v1 * a + b;
        v2 = v2 * a + b;
        v3 = v3 * a + b;
        v4 = v4 * a + b;
        v5 = v5 * a + b;
        v6 = v6 * a + b;
        v7 = v7 * a + b;
    }
    x[start] = v0;
    x[start + 1u] = v1;
    x[start + 2u] = v2;
    x[start + 3u] = v3;
    x[start + 4u] = v4;
    x[start + 5u] = v5;
    x[start + 6u] = v6;
    x[start + 7u] = v7;
}
