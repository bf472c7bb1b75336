// A window into a buffer: rows × cols elements, row r starting at offset + r·stride. The host writes it, counted from
// the start of the binding; offset and stride are multiples of 4, so rows are read as vectors of four.
struct Window {
    offset: u32,
    rows: u32,
    cols: u32,
    stride: u32,
}

// The vector that holds columns col..col + 4 of a row; col is a multiple of 4.
fn at(window: Window, row: u32, col: u32) -> u32 {
    return (window.offset + row * window.stride + col) >> 2u;
}

// Sets the columns past the last to zero, which a row's padding always is.
fn padded(value: vec4<f32>, col: u32, cols: u32) -> vec4<f32> {
    return select(vec4<f32>(), value, vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(cols));
}

// NaN by its bits: comparisons of NaN are not reliable in shaders.
fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

fn not_finite(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
}
