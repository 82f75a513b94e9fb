//! Answers of Nova and Keystone: nothing in them makes ehos panic, or a server ours that does not say so.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use openstack::CloudSettings;
use system::environment::Environment;
use openstack::{auth, compute, image, network, volume};
use scaling::observation::OwnedServer;
use scaling::refusal;
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
    let servers = compute::read_anything(body);
    // Nothing that cannot be read is told at length, or is taken for one that can.
    for item in servers.told() {
        assert!(item.item.chars().count() <= 201 && item.why.chars().count() <= 300);
    }
    assert!(servers.obscure("c").len() <= servers.unread.len());
    for record in servers.records {
        assert!(record.fault.as_ref().is_none_or(|fault| fault.chars().count() <= 201));
        let marked = record.metadata.get("ehos_cluster").is_some_and(|cluster| cluster == "c");
        let owned = OwnedServer::recognise(record, "c");
        assert!(owned.is_none() || marked);
        if let Some(owned) = owned {
            let _ = owned.lifetime();
        }
    }
    image::read_anything(body);
    network::read_anything(body);
    volume::read_anything(body);
    auth::read_anything(body, &CLOUD);
    let text = String::from_utf8_lossy(body);
    refusal::of_fault(&text);
    refusal::of_refusal(403, &text, false);
});
