//! `ehos image` on the testbed: a real machine becomes an image, and a first boot that fails leaves nothing.
//! `EHOS_TEST_MACHINES_DIR` names the folder of a running testbed with machines.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

struct Site {
    folder: tempfile::TempDir,
    testbed: PathBuf,
}

impl Site {
    fn find() -> Option<Site> {
        let Some(testbed) = std::env::var_os("EHOS_TEST_MACHINES_DIR").map(PathBuf::from) else {
            println!("skipped: EHOS_TEST_MACHINES_DIR names no testbed with machines");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "ehos:\n  cluster: pool-image-{}\n  project_prefix: image-test\n  base_image: Debian 13\n  \
             flavors: [m1.small]\n  network: machines\n  userdata_file: {PROJECT}/configs/execute.yaml\n\
             condor: {{host_ip: 10.77.0.1, trust_domain: ehos}}\nclouds:\n  ehos: {{cloud: ehos}}\n",
            std::process::id()
        );
        fs::write(folder.path().join("ehos.yaml"), config).unwrap();
        Some(Site { folder, testbed })
    }

    fn ehos(&self, command: &str, args: &[&str]) -> (Option<i32>, Value) {
        let clouds = self.testbed.join("openstack/clouds.yaml");
        let state = self.folder.path().join("state");
        let output = Command::new(testkit::program!())
            .env("OS_CLIENT_CONFIG_FILE", clouds)
            .env("EHOS_POLL_SECONDS", "1")
            .current_dir(self.folder.path())
            .args(["image", command, "--config", "ehos.yaml", "-o", "json"])
            .args(["--state-dir", state.to_str().unwrap()])
            .args(args)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        let json =
            serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}{said}"));
        (output.status.code(), json)
    }

    /// How many images of this pool there are.
    fn images(&self) -> usize {
        let (_, list) = self.ehos("list", &[]);
        list["clouds"][0]["images"].as_array().unwrap().len()
    }
}

#[test]
fn a_machine_becomes_an_image_and_old_images_go() {
    let Some(site) = Site::find() else { return };
    let base = Path::new(PROJECT).join("configs/base.yaml");
    let (code, built) = site.ehos("build", &["--base", base.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{built:#}");
    let id = built["clouds"][0]["image"]["id"].as_str().unwrap();
    let written = site.folder.path().join("ehos.d/50-image.yaml");
    assert!(fs::read_to_string(&written).unwrap().contains(id));
    let (_, list) = site.ehos("list", &[]);
    let image = &list["clouds"][0]["images"][0];
    assert_eq!(
        (&image["id"], &image["configured"]),
        (&Value::from(id), &Value::from(true))
    );
    site.ehos("prune", &["--keep", "0"]);
    assert_eq!(site.images(), 1, "it is configured");
    fs::remove_file(written).unwrap();
    let (code, _) = site.ehos("prune", &["--keep", "0"]);
    assert_eq!((code, site.images()), (Some(0), 0));
}

#[test]
fn a_first_boot_that_fails_leaves_nothing() {
    let Some(site) = Site::find() else { return };
    let base = site.folder.path().join("bad.yaml");
    let bad = "#cloud-config\nruncmd:\n- [sh, -c, 'echo something is missing; exit 3']\nfinal_message: all is well\n";
    fs::write(&base, bad).unwrap();
    let (code, built) = site.ehos("build", &["--base", base.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{built:#}");
    let cloud = &built["clouds"][0];
    let error = cloud["error"].as_str().unwrap();
    assert!(
        error.contains("the first boot failed: Failed to run module scripts-user"),
        "{error}"
    );
    assert!(error.ends_with("the server is deleted"), "{error}");
    assert!(
        cloud["console"]
            .as_str()
            .unwrap()
            .contains("something is missing")
    );
    assert_eq!(site.images(), 0);
}
