// Optimiser steps, 4 values an invocation. `schedule` holds what changes each step: the learning rate and Adam's
// corrections 1 / (1 - β1^t) and 1 / (1 - β2^t). Once the status says that training diverged, nothing changes any more.
fn halted() -> bool {
    return status[at(params.status, 0u, 0u)].x != 0.0;
}

// The first of the four values of an invocation; workgroups lie in rows.
fn column(id: vec3<u32>, groups: vec3<u32>) -> u32 {
    return 4u * (id.y * 64u * groups.x + id.x);
}

// Gradients as they count: g·min(1, limit / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`, and then at least −bound and at most bound; a
// limit or a bound of 0 is none. With a norm of NaN they are not scaled, and NaN stays NaN: nothing is updated from them.
fn clipped(g: vec4<f32>) -> vec4<f32> {
    let n = norm[at(params.norm, 0u, 0u)].x;
    let scale = params.limit / (n + 1e-6);
    let scaled = g * select(1.0, scale, params.limit > 0.0 && scale < 1.0 && !is_nan(vec4<f32>(n)).x);
    if params.bound == 0.0 {
        return scaled;
    }
    let low = select(scaled, vec4<f32>(-params.bound), scaled < vec4<f32>(-params.bound));
    return select(select(low, vec4<f32>(params.bound), low > vec4<f32>(params.bound)), scaled, is_nan(scaled));
}
