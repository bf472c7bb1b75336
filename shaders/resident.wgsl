// How many workgroups run at the same time: each counts itself in and stays until all are there or it has looked in vain often enough. The first
// to give up tells how many had come, since none can have left before. They take as many registers and as much memory as those that will wait
// for each other: 32 vectors that are needed again at the end, and 18 KiB.
struct Seen {
    count: atomic<u32>,
    first: atomic<u32>,
    sum: atomic<u32>,
}

@group(0) @binding(0) var<storage, read_write> seen: Seen;
@group(0) @binding(1) var<storage, read> numbers: array<vec4<u32>>;

var<workgroup> memory: array<vec4<u32>, 1152>;

@compute @workgroup_size(256)
fn main(@builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) i: u32) {
#for n in 0..32
    let number$n = numbers[i + $nu * 256u];
#end
    for (var at = i; at < 1152u; at += 256u) {
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
    var sum = memory[(i * 37u) % 1152u];
#for n in 0..32
    sum += number$n;
#end
    // Never; so that nothing above can be left out.
    if sum.x + sum.y + sum.z + sum.w == 0x12345u {
        _ = atomicAdd(&seen.sum, 1u);
    }
}
