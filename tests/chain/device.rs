//! The adapter that the tests run on: the best there is, or `WGPU_ADAPTER_NAME`. None is a failure, never a skip.

use std::sync::OnceLock;

use retrospect::backend::{Adapter, Device};

/// One device for all tests of a file.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let adapter = pollster::block_on(Adapter::find(None)).expect("the tests need an adapter");
        pollster::block_on(Device::open(&adapter)).expect("the adapter opens")
    })
}
