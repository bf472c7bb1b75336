// out = out + scale·ξ: an invocation changes 4 columns. Element n = row·cols + col of the whole window and batch uses two words of Philox4×32-10's block with
// key (seed) and counter (n div 2, layer, step), those of number 2·(n mod 2) on; ξ is the sum of their eight bytes less its mean. The product is
// exact, so that it does not matter whether it is fused with the sum. At step 0 nothing is added.
struct Params {
    schedule: Window,
    out: Window,
    layer: u32,
    first: u32,
    batch: u32,
    besides: u32,
    before: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> schedule: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

// The sums of the bytes of words x and y and of words z and w, less their mean.
fn sums(words: vec4<u32>) -> vec2<f32> {
    let halves = (words & vec4<u32>(0x00ff00ffu)) + ((words >> vec4<u32>(8u)) & vec4<u32>(0x00ff00ffu));
    let pairs = halves.xz + halves.yw;
    return vec2<f32>((pairs & vec2<u32>(0xffffu)) + (pairs >> vec2<u32>(16u))) - vec2<f32>(1020.0);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.out.rows || col >= params.out.cols || (now(2u) | now(3u)) == 0u {
        return;
    }
    let n = place_of(id.y) * params.out.cols + col;
    let one = sums(block_of(n >> 1u));
    let two = sums(block_of((n >> 1u) + 1u));
    var noise = vec4<f32>(one, two);
    if (n & 1u) == 1u {
        noise = vec4<f32>(one.y, two, sums(block_of((n >> 1u) + 2u)).x);
    }
    let i = at(params.out, id.y, col);
    out[i] = padded(out[i] + params.scale * noise, col, params.out.cols);
}
