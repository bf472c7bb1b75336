//! Every shader in the languages of the drivers that are not on this machine: naga translates it to SPIR-V (Vulkan), MSL (Metal) and HLSL (DX12),
//! with run-time checks and, for the variants that ask for it, without.

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use retrospect::program::Shader;
use retrospect::{kernels, registry};

/// What a device is opened with.
const CAPABILITIES: Capabilities = Capabilities::IMMEDIATES.union(Capabilities::SUBGROUP);

fn parsed(wgsl: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let info = Validator::new(ValidationFlags::all(), CAPABILITIES).validate(&module).map_err(|e| e.emit_to_string(wgsl))?;
    Ok((module, info))
}

/// A shader's text in each of the three languages.
fn translate(wgsl: &str, shader: &Shader, checks: bool) -> Result<[String; 3], String> {
    let (module, info) = parsed(wgsl)?;
    let policy = if checks { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let policies = BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy };
    let entry = Some((ShaderStage::Compute, shader.entry.to_owned()));

    let options = spv::Options { bounds_check_policies: policies, force_loop_bounding: checks, ..Default::default() };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: shader.entry.into() };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).map_err(|e| format!("SPIR-V: {e}"))?;

    let options = msl::Options {
        lang_version: (2, 4),
        fake_missing_bindings: true,
        bounds_check_policies: policies,
        force_loop_bounding: checks,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions { entry_point: entry.clone(), ..Default::default() };
    let (metal, names) = msl::write_string(&module, &info, &options, &pipeline).map_err(|e| format!("MSL: {e}"))?;
    names.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| format!("MSL: {e}"))?;

    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        fake_missing_bindings: true,
        immediates_target: Some(hlsl::BindTarget::default()),
        restrict_indexing: checks,
        force_loop_bounding: checks,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: entry };
    let mut direct = String::new();
    let written = hlsl::Writer::new(&mut direct, &options, &pipeline).write(&module, &info, None);
    let names = written.map_err(|e| format!("HLSL: {e}"))?.entry_point_names;
    names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| format!("HLSL: {e}"))?;
    Ok([format!("{} words", words.len()), metal, direct])
}

#[test]
fn every_shader_translates_to_spir_v_msl_and_hlsl() {
    let (mut seen, mut without, mut pairs) = (0, 0, 0);
    for kernel in registry::kernels() {
        for variant in kernel.variants {
            for shader in variant.shaders {
                let checks = variant.checked.is_none();
                let texts = translate(&shader.wgsl(), shader, checks);
                let texts = texts.unwrap_or_else(|error| panic!("{kernel:?}/{}/{}: {error}", variant.name, shader.entry));
                assert!(
                    texts.iter().all(|text| !text.is_empty()) && texts[1].contains("kernel void"),
                    "{kernel:?}/{}",
                    variant.name
                );
                seen += 1;
                without += u32::from(!checks);
            }
            if variant.pairs && variant.checked.is_none() {
                let shader = &variant.shaders[0];
                let texts = translate(&shader.wgsl_for_pair(), shader, true);
                let error = texts.err().unwrap_or_default();
                assert!(error.is_empty(), "{kernel:?}/{}, a pair: {error}", variant.name);
                pairs += 1;
            }
        }
    }
    assert!(seen > 100 && without >= 30 && pairs >= 60, "{seen}, {without} without checks, {pairs} of pairs");
    // Those of the backend itself.
    const SIZES: &str = "const THREADS: u32 = 512u;\nconst MEMORY: u32 = 1024u;\nconst NUMBERS: u32 = 24u;\n";
    for text in [include_str!("../../shaders/keep.wgsl"), include_str!("../../shaders/resident.wgsl")] {
        let shader = Shader::new(vec![SIZES, text].leak(), "main", &[], &[]);
        translate(&shader.wgsl(), &shader, true).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

/// What cannot be translated is seen: a builtin that the languages do not share, and a text that is no shader.
#[test]
fn a_shader_that_does_not_translate_is_named() {
    let shader = &kernels::fill::COPY.variants[0].shaders[0];
    let text = shader.wgsl();
    let wrong = text.replace("@compute", "@group(1) @binding(0) var none: binding_array<texture_2d<f32>>;\n@compute");
    assert!(wrong != text && translate(&wrong, shader, true).is_err());
    assert!(translate(&text.replace("let col", "let"), shader, true).is_err_and(|error| error.contains("error")));
}
