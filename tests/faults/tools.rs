//! The two tools that make faults, built with the C compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::plan::Fault;

/// The built tools.
pub struct Tools {
    folder: TempDir,
}

/// What tells the Vulkan loader of the layer.
const MANIFEST: &str = r#"{
    "file_format_version": "1.1.2",
    "layer": {
        "name": "VK_LAYER_RETROSPECT_faults", "type": "GLOBAL", "library_path": "./liblayer.so", "api_version": "1.3.0",
        "implementation_version": "1", "description": "makes a call of a program fail, or never answer"
    }
}"#;

impl Tools {
    pub fn build() -> Tools {
        let tools = Tools { folder: tempfile::tempdir().unwrap() };
        // The loader opens the layer anew for each instance, and its counts go on.
        tools.compile("layer", include_str!("layer.c"), &["-Wl,-z,nodelete", "-fvisibility=hidden"]);
        tools.compile("files", include_str!("files.c"), &[]);
        std::fs::write(tools.folder.path().join("layer.json"), MANIFEST).unwrap();
        tools
    }

    fn compile(&self, name: &str, text: &str, flags: &[&str]) {
        let source = self.folder.path().join(format!("{name}.c"));
        std::fs::write(&source, text).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]).args(flags).arg("-o").arg(self.library(name));
        let output = compiler.arg(source).arg("-ldl").output().expect("cc, which Rust links with, is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn library(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("lib{name}.so"))
    }

    /// Has the calls of a process counted in a file.
    pub fn count(&self, command: &mut Command, backend: &str, run: &str, calls: &Path) {
        self.load(command, backend, run);
        command.env("FAULT_CALLS", calls);
    }

    /// Has a fault planted into a process, and a file made when it is met.
    pub fn plant(&self, command: &mut Command, fault: &Fault, run: &str, struck: &Path) {
        self.load(command, fault.backend, run);
        command.env("FAULT_CALL", &fault.call).env("FAULT_NUMBER", fault.number.to_string());
        command.env("FAULT_ACT", fault.act).env("FAULT_STRUCK", struck);
    }

    fn load(&self, command: &mut Command, backend: &str, run: &str) {
        if backend == "gpu" {
            command.env("VK_LAYER_PATH", self.folder.path()).env("VK_INSTANCE_LAYERS", "VK_LAYER_RETROSPECT_faults");
        } else {
            command.env("LD_PRELOAD", self.library("files")).env("FAULT_FOLDER", run);
        }
    }
}
