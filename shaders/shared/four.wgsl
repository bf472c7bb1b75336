// Four terms of a sum over k, of a row and of four columns.
fn four(x: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) -> vec4<f32> {
    return x.x * w0 + x.y * w1 + x.z * w2 + x.w * w3;
}
