// Keeps a copy of what a program holds, and of the number of the operations that made it, unless a workgroup has given up.
@group(0) @binding(0) var<storage, read> given_up: array<u32>;
@group(0) @binding(1) var<storage, read> original: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> kept: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if given_up[0] != 0u {
        return;
    }
    for (var i = id.x; i < arrayLength(&kept); i += groups.x * 256u) {
        kept[i] = original[i];
    }
}
