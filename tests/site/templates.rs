//! The cloud-init files where they are meant to be: cloud-init itself finds nothing wrong with them, and on the machines
//! that they make only root gets an answer of the metadata service.

use crate::machines::{Answer, By, Site, step};

/// Asks the metadata service for the user data; standard output says who answered.
const ASK: &str = "import urllib.request, urllib.error
try:
    print(urllib.request.urlopen('http://169.254.169.254/openstack/latest/user_data', timeout=5).status)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)";

#[track_caller]
fn assert_only_root_is_answered(site: &Site, machine: &str, user: &str) {
    let ask = |who: &str| -> Answer {
        let args = ["runuser", "-u", who, "--", "python3", "-c", ASK];
        site.run_on(machine, &args, b"")
    };
    assert_eq!(ask("root").ok(), "200", "root on {machine}");
    assert_eq!(
        ask(user).ok(),
        "ConnectionRefusedError",
        "{user} on {machine}"
    );
}

#[test]
fn the_files_are_valid_and_the_metadata_service_is_roots_alone() {
    let Some(mut site) = Site::up("fence", "nodes_max: 1") else {
        return;
    };
    step("cloud-init's schema");
    for name in ["base.yaml", "execute.yaml", "master.yaml"] {
        let file = format!("/root/configs/{name}");
        let answer = site.run(&["cloud-init", "schema", "--config-file", &file], b"");
        assert_eq!(answer.code, 0, "{answer:#?}");
    }

    step("login users of the master");
    let master = "story-fence-master";
    for user in ["alice", "debian", "ehos"] {
        assert_only_root_is_answered(&site, master, user);
    }

    // The job says by its exit code what it found, and stays until it was looked at from outside.
    let code = format!(
        "{}\nimport sys, time\ntime.sleep(20)\nsys.exit(7 if refused else 0)",
        ASK.replace(
            "print(type(error.reason).__name__)",
            "refused = isinstance(error.reason, ConnectionRefusedError)"
        )
        .replace("try:", "refused = False\ntry:")
    );
    site.run(&["sh", "-c", "cat >/home/alice/ask.py"], code.as_bytes())
        .ok();
    site.submit(
        1,
        0,
        "executable = /usr/bin/python3\narguments = ask.py\ntransfer_input_files = /home/alice/ask.py",
    );
    site.tick_until("the job runs", 90, By::Unit, &[0], |site| {
        site.queue().get(&2) == Some(&1)
    });
    step("a login user of the node");
    let nodes = site.nodes();
    assert_only_root_is_answered(&site, &nodes[0].name, "debian");
    site.tick_until("the job is done", 60, By::Unit, &[0], |site| {
        site.queue().is_empty()
    });
    let history = site.history();
    assert_eq!(history.len(), 1, "{history:#?}");
    assert_eq!(history[0].exit_code, 7, "{history:#?}");
}
