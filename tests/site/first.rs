//! `ehos config init` against a real control plane (`EHOS_TEST_CLOUDS_YAML`, as for the other tests). It makes nothing there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(folder: &Path, args: &[&str]) -> Output {
    let output = Command::new(testkit::program!())
        .args(args)
        .current_dir(folder)
        .env("OS_CLIENT_CONFIG_FILE", folder.join("clouds.yaml"))
        .env("HOME", folder)
        .env_remove("EHOS_CONFIG")
        .output()
        .unwrap();
    println!(
        "{args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn a_first_configuration_is_valid_by_either_access() {
    let Some(clouds) = std::env::var_os("EHOS_TEST_CLOUDS_YAML") else {
        println!("skipped: EHOS_TEST_CLOUDS_YAML does not name a clouds.yaml");
        return;
    };
    for (cloud, secret) in [
        ("ehos", "ehos.password"),
        ("ehos-appcred", "ehos-appcred.secret"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::copy(PathBuf::from(&clouds), path.join("clouds.yaml")).unwrap();
        fs::create_dir(path.join("configs")).unwrap();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/execute.yaml");
        fs::copy(template, path.join("configs/execute.yaml")).unwrap();
        let init = [
            "config",
            "init",
            "--os-cloud",
            cloud,
            "-o",
            "configs/ehos.yaml",
        ];
        assert_eq!(run(path, &init).status.code(), Some(0));
        // The access is in the new files alone.
        fs::remove_file(path.join("clouds.yaml")).unwrap();
        let metadata = fs::metadata(path.join("configs").join(secret)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let secret = fs::read_to_string(path.join("configs").join(secret)).unwrap();
        let text = fs::read_to_string(path.join("configs/ehos.yaml")).unwrap();
        assert!(!text.contains(secret.trim_end()));
        for line in [
            "base_image: Debian 13\n",
            "flavor: m1.medium\n",
            "network: ",
        ] {
            assert!(text.contains(line), "no {line:?} in {text}");
        }
        let valid = run(path, &["config", "check", "--config", "configs/ehos.yaml"]);
        assert_eq!(valid.status.code(), Some(0));
        let check = run(
            path,
            &["check", "--config", "configs/ehos.yaml", "-o", "json"],
        );
        let report: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
        let ok = |name: &str| {
            let findings = report["findings"].as_array().unwrap();
            findings
                .iter()
                .any(|found| found["check"] == name && found["outcome"] == "ok")
        };
        for name in ["login", "region", "flavors", "networks"] {
            assert!(ok(name), "{name}: {report:#}");
        }
        assert_eq!(run(path, &init).status.code(), Some(1), "a second time");
        assert_eq!(
            fs::read_to_string(path.join("configs/ehos.yaml")).unwrap(),
            text
        );
    }
}
