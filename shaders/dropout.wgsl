// out = x ⊙ mask: an invocation computes 4 columns. Element n = row·width + col of the whole window uses word n mod 4 of Philox4×32-10's block
// with key (seed) and counter (n div 4, layer, step), and is dropped where that is less than the threshold. At step 0 nothing is.
struct Params {
    x: Window,
    schedule: Window,
    out: Window,
    layer: u32,
    first: u32,
    width: u32,
    col: u32,
    threshold: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> schedule: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

// The 64-bit product of two words as (high, low), by halves of 16 bits.
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = vec2<u32>((a >> 16u) * (b & 0xffffu), (a & 0xffffu) * (b >> 16u));
    let carried = (low >> 16u) + (middle.x & 0xffffu) + (middle.y & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle.x >> 16u) + (middle.y >> 16u) + (carried >> 16u), a * b);
}

fn now(i: u32) -> u32 {
    return schedule[params.schedule.offset + i];
}

// The block of four words.
fn philox(block: u32) -> vec4<u32> {
    var c = vec4<u32>(block, params.layer, now(2u), now(3u));
    var key = vec2<u32>(now(0u), now(1u));
#for r in 0..10
    {
        let a = multiply(0xd2511f53u, c.x);
        let b = multiply(0xcd9e8d57u, c.z);
        c = vec4<u32>(b.x ^ c.y ^ key.x, b.y, a.x ^ c.w ^ key.y, a.y);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
#end
    return c;
}

// The words of four elements from n on, of which n is (high, low).
fn words(n: vec2<u32>) -> vec4<u32> {
    let block = (n.x << 30u) | (n.y >> 2u);
    let one = philox(block);
    let at = n.y & 3u;
    if at == 0u {
        return one;
    }
    let next = philox(block + 1u);
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
    let n = multiply(params.first + id.y, params.width);
    let low = n.y + params.col + col;
    let places = vec2<u32>(n.x + select(0u, 1u, low < n.y), low);
    let factors = select(vec4<f32>(params.scale), vec4<f32>(), words(places) < vec4<u32>(params.threshold));
    out[i] = value * factors;
}
