// The activations h = φ(a) by their code, and the derivative from h. The host has the same functions in activation.rs.
const TANH: u32 = 0u;
const SIGMOID: u32 = 1u;
const RELU: u32 = 2u;
const IDENTITY: u32 = 3u;

// tanh as an odd polynomial of degree 13 over an even one of degree 6 (Eigen's coefficients): the builtin is
// indeterminate for large x and imprecise for small.
fn rational_tanh(x: vec4<f32>) -> vec4<f32> {
    let c = clamp(x, vec4<f32>(-7.905311), vec4<f32>(7.905311));
    let s = c * c;
    var p = s * -2.7607685e-16 + 2.000188e-13;
    p = s * p - 8.604672e-11;
    p = s * p + 5.122297e-8;
    p = s * p + 1.4857224e-5;
    p = s * p + 6.3726194e-4;
    p = s * p + 4.8935245e-3;
    var q = s * 1.1982584e-6 + 1.1853471e-4;
    q = s * q + 2.2684346e-3;
    q = s * q + 4.893525e-3;
    return select(c * p / q, x, (abs(x) < vec4<f32>(4e-4)) | is_nan(x));
}

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    let e = exp_nonpositive(-abs(x));
    return select(vec4<f32>(1.0), e, x < vec4<f32>()) / (1.0 + e);
}

fn activate(code: u32, a: vec4<f32>) -> vec4<f32> {
    switch code {
        case TANH: { return rational_tanh(a); }
        case SIGMOID: { return sigmoid(a); }
        case RELU: { return select(a, vec4<f32>(), (a < vec4<f32>()) & !is_nan(a)); }
        default: { return a; }
    }
}

fn derivative(code: u32, h: vec4<f32>) -> vec4<f32> {
    switch code {
        case TANH: { return 1.0 - h * h; }
        case SIGMOID: { return h * (1.0 - h); }
        case RELU: { return select(vec4<f32>(), vec4<f32>(1.0), h > vec4<f32>()); }
        default: { return vec4<f32>(1.0); }
    }
}
