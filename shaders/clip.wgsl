// x ← x·min(1, limit / (norm + 1e-6)), or x where the norm is NaN: an invocation scales 4 values.
struct Params {
    x: Window,
    norm: Window,
    limit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = 4u * id.x;
    if col < params.x.cols {
        let n = norm[at(params.norm, 0u, 0u)].x;
        let scale = params.limit / (n + 1e-6);
        // The padding inside of an arena must stay zero, so NaN scales nothing.
        x[at(params.x, 0u, col)] *= select(1.0, scale, scale < 1.0 && !is_nan(vec4<f32>(n)).x);
    }
}
