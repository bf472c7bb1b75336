//! The one place where shaders are compiled without the checks of bounds and loops that wgpu adds.

/// Makes a module without run-time checks. On an H200 that made products 1.3 times as fast, and recurrences up to 1.7 times.
#[expect(unsafe_code, reason = "measured above, and wgpu has no safe function for it")]
pub(super) fn create_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor) -> wgpu::ShaderModule {
    // SAFETY: only variants that ask for it come here. Their shaders clamp or test every index into a window, and their loops end by
    // bounds that the host computed and asserted. The same text has passed its check with run-time checks on this adapter, at the
    // sizes of the step (`Device::trust`), before this one is run.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
