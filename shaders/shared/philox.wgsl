// Random words that follow from the schedule (seed and training step) and a layer: for shaders that have a binding `schedule` and a scalar `layer`.

// A word of the seed, low before high, and then of the training step.
fn now(i: u32) -> u32 {
    return schedule[params.schedule.offset + i];
}

// The 64-bit product of two words as (high, low), by halves of 16 bits.
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = vec2<u32>((a >> 16u) * (b & 0xffffu), (a & 0xffffu) * (b >> 16u));
    let carried = (low >> 16u) + (middle.x & 0xffffu) + (middle.y & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle.x >> 16u) + (middle.y >> 16u) + (carried >> 16u), a * b);
}

// The block of four words of a number: Philox4×32-10 with key (seed) and counter (number, layer, training step).
fn block_of(number: u32) -> vec4<u32> {
    var c = vec4<u32>(number, params.layer, now(2u), now(3u));
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
