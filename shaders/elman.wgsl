// The Elman cell: h = φ(input + recurrent), and the gradient of its pre-activation from that of h and from h itself.
fn unit_forward(activation: u32, input: vec4<f32>, recurrent: vec4<f32>) -> vec4<f32> {
    return activate(activation, input + recurrent);
}

fn unit_backward(activation: u32, d_hidden: vec4<f32>, recurrent: vec4<f32>, hidden: vec4<f32>) -> vec4<f32> {
    return (d_hidden + recurrent) * derivative(activation, hidden);
}
