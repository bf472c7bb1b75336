//! The one place where shaders are compiled without the checks of bounds and loops that wgpu adds.

use std::collections::HashSet;
use std::sync::OnceLock;

/// Whether a shader, by its address, is one of this crate's that were written to do without run-time checks. Another one is compiled with
/// them, whatever its variant says.
pub(super) fn is_own(address: usize) -> bool {
    static OWN: OnceLock<HashSet<usize>> = OnceLock::new();
    let own = || {
        let variants = crate::kernels::all().into_iter().flat_map(|kernel| kernel.variants);
        let shaders = variants.filter(|variant| variant.checked.is_some()).flat_map(|variant| variant.shaders);
        shaders.map(|shader| std::ptr::from_ref(shader).addr()).collect()
    };
    OWN.get_or_init(own).contains(&address)
}

/// Makes a module without run-time checks. On an H200 that made products 1.3 times as fast, and recurrences up to 1.7 times.
#[expect(unsafe_code, reason = "measured above, and wgpu has no safe function for it")]
pub(super) fn create_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor) -> wgpu::ShaderModule {
    // SAFETY: only shaders of this crate that are its own come here (`is_own`). They clamp or test every index into a window, and
    // their loops end by bounds that the host computed and asserted. For training, the same text has also passed its check with
    // run-time checks on this adapter, and both agreed at the size of the step (`Device::trust`).
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
