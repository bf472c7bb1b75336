//! Every shader of every variant, as naga reads it, against what the host says of it: entry point, bindings, the uniform
//! that the host writes, workgroup memory, and the traps that no test on a software adapter shows. The adapter takes a
//! shader whose fields moved without a word and computes something else.

use super::reflection::problems;
use retrospect::program::{Access, Cuts, Kernel, Needs, Program, Shader, Variant};
use retrospect::registry;

fn shaders() -> impl Iterator<Item = (&'static Kernel, &'static Variant, &'static Shader)> {
    let variants = registry::kernels().into_iter().flat_map(|k| k.variants.iter().map(move |v| (k, v)));
    variants.flat_map(|(k, v)| v.shaders.iter().map(move |s| (k, v, s)))
}

fn shader(kernel: &str, variant: &str) -> &'static Shader {
    let found = shaders().find(|(k, v, _)| (k.name, v.name) == (kernel, variant));
    found.unwrap_or_else(|| panic!("there is no {kernel}/{variant}")).2
}

#[test]
fn every_shader_is_what_the_host_says() {
    let mut seen = 0;
    for (kernel, variant, shader) in shaders() {
        let found = problems(&shader.wgsl(), shader, variant.needs);
        assert!(found.is_empty(), "{kernel:?}/{}/{}:\n{}", variant.name, shader.entry, found.join("\n"));
        seen += 1;
    }
    assert!(seen >= registry::kernels().len(), "only {seen} shaders");
}

/// A shader may bind less or more than its kernel, and write what the kernel only promises to overwrite; what the kernel
/// only reads it only reads.
#[test]
fn no_shader_writes_what_its_kernel_reads() {
    for (kernel, variant, shader) in shaders() {
        for binding in shader.bindings {
            let Some(contract) = kernel.bindings.iter().find(|b| b.name == binding.name) else { continue };
            let label = format!("{kernel:?}/{}: {}", variant.name, binding.name);
            assert_eq!(contract.element, binding.element, "{label}");
            assert!((contract.access == Access::Read) <= (binding.access == Access::Read), "{label}");
        }
    }
}

/// What a lowered step hands to a shader has the shape that the shader was checked against.
#[test]
fn every_piece_has_its_shader_s_windows_and_scalars() {
    // Where hardly anything is one binding, where of four gates the weight is and two blocks of states are not, and where parts have room.
    let limits = [(1 << 12, 1 << 13), (13_000, 26_000), (1 << 14, 1 << 15)]
        .map(|(binding, buffer)| Cuts::new(binding, buffer, 64, 30_000));
    for kernel in registry::kernels() {
        for variant in kernel.variants {
            let mut used = vec![false; variant.shaders.len()];
            let sizes = [[1, 1, 1], [7, 19, 5], [66, 130, 33], [2, 1030, 3], [3, 5, 1030], [60, 60, 3], [64, 28, 3]];
            for (size, cuts) in sizes.into_iter().flat_map(|size| limits.iter().map(move |cuts| (size, cuts))) {
                let mut program = Program::new();
                (kernel.sample)(&mut program, size);
                if !(variant.can)(&program.steps()[0], cuts) {
                    continue;
                }
                for piece in (variant.lower)(&program.steps()[0], cuts).phases.iter().flat_map(|p| &p.pieces) {
                    let (shader, label) = (&variant.shaders[piece.shader], format!("{kernel:?}/{} at {size:?}", variant.name));
                    used[piece.shader] = true;
                    assert_eq!(piece.windows.len(), shader.bindings.len(), "{label}");
                    assert_eq!(piece.scalars.len(), 4 * shader.scalars.len(), "{label}");
                    assert!(piece.iterations <= cuts.iterations, "{label}: {} iterations", piece.iterations);
                }
            }
            assert!(used.iter().all(|&u| u), "{kernel:?}/{} uses {used:?} of its shaders", variant.name);
        }
    }
}

/// An edit of a shader's text, and what has to be said of it.
struct Plant {
    shader: &'static Shader,
    from: &'static str,
    to: &'static str,
    said: &'static str,
}

fn plants() -> Vec<Plant> {
    let of = |kernel, variant| {
        let shader = shader(kernel, variant);
        move |from, to, said| Plant { shader, from, to, said }
    };
    let adam = of("adam", "vectors");
    let gemm = of("gemm_nn", "tiled");
    let tokens = of("embedding_lookup", "rows");
    let elman = of("elman_forward", "tiled");
    let shader = shaders().find(|(_, _, shader)| shader.wgsl().contains("fn add_up("));
    let shader = shader.expect("products whose k is split have sums of parts").2;
    let sum_parts = move |from, to, said| Plant { shader, from, to, said };
    vec![
        adam("beta1: f32,\n    beta2: f32,", "beta2: f32,\n    beta1: f32,", "member 7 of Params is beta2"),
        adam("epsilon: f32,", "epsilon: f32,\n    rest: f32,", "Params has 14 members"),
        adam("    epsilon: f32,\n", "", "invalid field accessor `epsilon`"),
        adam("epsilon: f32,", "epsilon: u32,", "member epsilon of Params"),
        adam("beta2: f32,", "@align(16) beta2: f32,", "member beta2 of Params lies at 128"),
        adam("decay: f32,\n}", "@size(16) decay: f32,\n}", "Params is 148 bytes"),
        adam("    m: Window,\n    v: Window,", "    v: Window,\n    m: Window,", "member 2 of Params is v"),
        adam("read_write> m:", "read> m:", "binding m is Storage"),
        adam("read> gradient:", "read_write> gradient:", "binding gradient is Storage"),
        adam("@binding(3) var<storage, read_write> m:", "@binding(4) var<storage, read_write> m:", "binding 4"),
        adam(
            "@binding(3) var<storage, read_write> m: array<vec4<f32>>;\n@group(0) @binding(4)",
            "@binding(4) var<storage, read_write> m: array<vec4<f32>>;\n@group(0) @binding(3)",
            "binding 4 is m, the host says v",
        ),
        adam("@binding(7)", "@binding(8)", "binding 8"),
        adam("> gradient: array<vec4<f32>>", "> gradient: array<vec4<u32>>", "binding gradient is Array"),
        adam("var<uniform> params: Params;", "var<storage, read> params: Params;", "params"),
        gemm("@group(0) @binding(1) var<storage, read> a:", "@group(0) @binding(2) var<storage, read> a:", "binding 2"),
        gemm("stride: u32,\n}", "stride: u32,\n    pad: u32,\n}", "Window"),
        gemm("rows: u32,\n    cols: u32,", "cols: u32,\n    rows: u32,", "member 1 of Window is cols"),
        gemm("TILE_M * TILE_K / 4u>", "TILE_M * TILE_K>", "20480 bytes of workgroup memory"),
        gemm("@workgroup_size(TILE_N / 4u, TILE_M / 4u)", "@workgroup_size(16, 17)", "272 invocations"),
        gemm("fn main(", "fn other(", "no compute entry point main"),
        gemm("workgroupBarrier();\n        for", "if row > 3u { workgroupBarrier(); }\n        for", "a barrier in a branch"),
        gemm("var s0", "if row > 3u { return; }\n    var s0", "a barrier behind a return"),
        sum_parts("add_up(i, rows, row, col);", "if i < width() { add_up(i, rows, row, col); }", "a barrier in a branch of main"),
        sum_parts(
            "    sums[i] = sum;\n",
            "    if i > 3u { return; }\n    sums[i] = sum;\n",
            "a barrier behind a return in add_up",
        ),
        gemm(
            "fn store(",
            "var<workgroup> count: atomic<u32>;\nfn counted() -> u32 { return atomicAdd(&count, 1u); }\nfn store(",
            "an atomic in counted",
        ),
        tokens("> tokens: array<u32>", "> tokens: array<i32>", "binding tokens is Array"),
        tokens("tokens", "ids", "binding 1 is ids"),
        elman("    time: u32,\n}", "    time: f32,\n}", "member time of Immediates is"),
        elman("    time: u32,\n}", "    time: u32,\n    pad: u32,\n}", "Immediates has 2 members"),
        elman("case TANH: { return rational_tanh(a); }", "case TANH: { return tanh(a); }", "the builtin tanh"),
        elman("return 1.0 - h * h;", "return 1.0 - exp(h);", "the builtin exp"),
        elman("let s = c * c;", "if any(c != c) { return c; }\n    let s = c * c;", "compares a value with itself"),
        elman(
            "let s = c * c;",
            "var d = c.x;\n    if !(d == d) { return c; }\n    let s = c * c;",
            "compares a value with itself",
        ),
        elman("var sums = Sums();", "var sums = Sums();\n    sums[0] = vec4<f32>(-3.40282347e38);", "3.40282347e38"),
    ]
}

#[test]
fn planted_edits_are_caught_and_named() {
    let mut missed = Vec::new();
    for Plant { shader, from, to, said } in plants() {
        let text = shader.wgsl();
        assert!(text.contains(from), "{from:?} is not there");
        let found = problems(&text.replace(from, to), shader, Needs::NOTHING);
        if !found.iter().any(|f| f.contains(said)) {
            missed.push(format!("{from:?} → {to:?} gives {found:?}, not {said:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The host's side can drift too: the same text against a shader that says something else.
#[test]
fn a_host_that_says_something_else_is_caught() {
    let adam = shader("adam", "vectors");
    let momentum = shader("momentum", "vectors");
    let copy = |bindings, scalars, entry| Shader::new(adam.source, entry, bindings, scalars);
    for (wrong, said) in [
        (copy(momentum.bindings, adam.scalars, "main"), "binding 4 is v"),
        (copy(adam.bindings, momentum.scalars, "main"), "member 7 of Params is beta1"),
        (copy(adam.bindings, &["beta1", "beta2"], "main"), "Params has 13 members"),
        (copy(adam.bindings, adam.scalars, "step"), "no compute entry point step"),
    ] {
        let found = problems(&adam.wgsl(), &wrong, Needs::NOTHING);
        assert!(found.iter().any(|f| f.contains(said)), "{said}: {found:?}");
    }
}
