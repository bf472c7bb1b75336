// out = x ⊙ mask: an invocation computes 4 columns. Element n = row·width + col of the whole window and batch uses word n mod 4 of Philox4×32-10's block
// with key (seed) and counter (n div 4, layer, step), and is dropped where that is less than the threshold. At step 0 nothing is.
struct Params {
    x: Window,
    schedule: Window,
    out: Window,
    layer: u32,
    first: u32,
    batch: u32,
    besides: u32,
    before: u32,
    width: u32,
    col: u32,
    threshold: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> schedule: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

// The words of four elements from n on, of which n is (high, low).
fn words(n: vec2<u32>) -> vec4<u32> {
    let block = (n.x << 30u) | (n.y >> 2u);
    let one = block_of(block);
    let at = n.y & 3u;
    if at == 0u {
        return one;
    }
    let next = block_of(block + 1u);
    if at == 1u {
        return vec4<u32>(one.yzw, next.x);
    }
    if at == 2u {
        return vec4<u32>(one.zw, next.xy);
    }
    return vec4<u32>(one.w, next.xyz);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.x.rows || col >= params.x.cols {
        return;
    }
    let value = x[at(params.x, id.y, col)];
    let i = at(params.out, id.y, col);
    if (now(2u) | now(3u)) == 0u {
        out[i] = value;
        return;
    }
    let n = multiply(place_of(id.y), params.width);
    let low = n.y + params.col + col;
    let places = vec2<u32>(n.x + select(0u, 1u, low < n.y), low);
    let factors = select(vec4<f32>(params.scale), vec4<f32>(), words(places) < vec4<u32>(params.threshold));
    out[i] = value * factors;
}
