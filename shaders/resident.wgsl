// How many workgroups run at the same time: each counts itself in and stays until all are there or it has looked in vain often enough. The first
// to give up tells how many had come, since none can have left before. They take about as many registers and as much memory as those that will
// wait for each other: numbers that are needed again at the end, and MEMORY vectors.
struct Seen {
    count: atomic<u32>,
    first: atomic<u32>,
    sum: atomic<u32>,
}

@group(0) @binding(0) var<storage, read_write> seen: Seen;
@group(0) @binding(1) var<storage, read> numbers: array<vec4<u32>>;

var<workgroup> memory: array<vec4<u32>, MEMORY>;

@compute @workgroup_size(THREADS)
fn main(@builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) i: u32) {
#for n in 0..NUMBERS
    let number$n = numbers[i + $nu * THREADS];
#end
    for (var at = i; at < MEMORY; at += THREADS) {
        memory[at] = number0 + at;
    }
    if i == 0u {
        _ = atomicAdd(&seen.count, 1u);
    }
    workgroupBarrier();
    var count = 0u;
    for (var looks = 0u; looks < 16384u; looks++) {
        count = atomicLoad(&seen.count);
        if count >= groups.x || atomicLoad(&seen.first) != 0u {
            break;
        }
    }
    if i == 0u {
        _ = atomicCompareExchangeWeak(&seen.first, 0u, count);
    }
    var sum = memory[(i * 37u) % MEMORY];
#for n in 0..NUMBERS
    sum += number$n;
#end
    // Never; so that nothing above can be left out.
    if sum.x + sum.y + sum.z + sum.w == 0x12345u {
        _ = atomicAdd(&seen.sum, 1u);
    }
}
