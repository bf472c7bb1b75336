// The 64-bit product of two words as (high, low), by halves of 16 bits.
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = vec2<u32>((a >> 16u) * (b & 0xffffu), (a & 0xffffu) * (b >> 16u));
    let carried = (low >> 16u) + (middle.x & 0xffffu) + (middle.y & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle.x >> 16u) + (middle.y >> 16u) + (carried >> 16u), a * b);
}

// Philox4×32-10: the block of four words of a counter and a key.
fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = seed;
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
