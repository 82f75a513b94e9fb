//! Answers of Nova and Keystone: nothing in them makes ehos panic, or a server ours that does not say so.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use ehos::config::{self, CloudSettings, Environment};
use ehos::openstack::{auth, compute};
use ehos::scaling::observation::OwnedServer;
use libfuzzer_sys::fuzz_target;

static CLOUD: LazyLock<CloudSettings> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ehos.yaml");
    let text = "ehos: {cluster: c, flavors: [f], image: i, userdata_file: t, network: n}\nclouds:\n  a: {auth_url: 'http://127.0.0.1/', \
                username: u, password: p, project_name: p, user_domain_name: d, project_domain_name: d, region_name: RegionOne}\n";
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("t"), "#cloud-config\n").unwrap();
    let environment = Environment {
        variables: Default::default(),
        root: folder.path().to_owned(),
        working_directory: folder.path().to_owned(),
    };
    let files: [PathBuf; 1] = [file];
    match config::load(&files, &environment) {
        Ok(mut config) => config.clouds.remove(0),
        Err(error) => panic!("{error}"),
    }
});

fuzz_target!(|body: &[u8]| {
    for record in compute::read_anything(body) {
        assert!(record.fault.as_ref().is_none_or(|fault| fault.chars().count() <= 201));
        let marked = record.metadata.get("ehos_cluster").is_some_and(|cluster| cluster == "c");
        let owned = OwnedServer::recognise(record, "c");
        assert!(owned.is_none() || marked);
        if let Some(owned) = owned {
            let _ = owned.lifetime();
        }
    }
    auth::read_anything(body, &CLOUD);
});
