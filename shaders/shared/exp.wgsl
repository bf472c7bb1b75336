// e^x for x <= 0: x = n·ln 2 + r, a polynomial in r, times 2^n; zero below -87, NaN stays NaN.
// The coefficients are those of Cephes' expf; the host has the same function in activation.rs.
fn exp_nonpositive(x: vec4<f32>) -> vec4<f32> {
    let c = max(x, vec4<f32>(-87.0));
    let n = floor(c * 1.44269504 + 0.5);
    var r = n * -0.693359375 + c;
    r = n * 2.12194440e-4 + r;
    var p = r * 1.9875691e-4 + 1.3981999e-3;
    p = r * p + 8.333452e-3;
    p = r * p + 4.1665796e-2;
    p = r * p + 0.16666665;
    p = r * p + 0.5;
    p = (r * r) * p + r + 1.0;
    let scale = bitcast<vec4<f32>>(bitcast<vec4<u32>>(vec4<i32>(n) + 127) << vec4<u32>(23u));
    let y = select(p * scale, vec4<f32>(), x < vec4<f32>(-87.0));
    return select(y, x, is_nan(x));
}
