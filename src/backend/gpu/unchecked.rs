//! The one place where shaders are compiled without the checks of bounds and loops that wgpu adds.

/// Makes a module without run-time checks. On an H200 that made products 1.3 times as fast, and recurrences up to 1.7 times.
#[expect(unsafe_code, reason = "measured above, and wgpu has no safe function for it")]
pub(super) fn create_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor) -> wgpu::ShaderModule {
    // SAFETY: only shaders that are marked come here (`Shader::in_bounds`), which none from outside of this crate can be. They stay in
    // their windows for dispatches that this crate's variants made of steps that its kernels recorded, whose shapes are asserted there, and
    // their loops end by bounds that the host computed. That a step recorded by hand has such windows is its author's to see to. For training, the same text has
    // also passed its check with run-time checks on this adapter, and both agreed at the size of the step (`Device::trust`).
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
