//! User data in the formats of cloud-init.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::double::Double;
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE};

const MIME: &str = "Content-Type: multipart/mixed; boundary=\"====\"\nMIME-Version: 1.0\n\n--====\nContent-Type: \
                    text/cloud-config\n\n#cloud-config\nruncmd: [[touch, /run/first]]\n--====\nContent-Type: \
                    text/x-shellscript\n\n#!/bin/sh\necho 'CONDOR_HOST = {host_ip}' > /etc/condor/config.d/10-pool\n--====--\n";

/// A site whose nodes are made of this user data.
fn site(text: &[u8]) -> (Double, Site) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    site.write("node.data", "");
    std::fs::write(site.path().join("node.data"), text).unwrap();
    let path = site.path().join("node.data");
    let over = format!("ehos: {{userdata_file: {}}}\n", path.display());
    (double, site.over(&over))
}

#[test]
fn scripts_messages_and_archives_are_sent_with_their_tags_filled_in() {
    for text in [
        MIME,
        "#!/bin/sh\necho {host_ip} 'a: ['\n",
        "#cloud-config-archive\n- |\n  #!/bin/sh\n  echo {host_ip}\n",
        "#cloud-boothook\n#!/bin/sh\necho {host_ip}\n",
        "#include\nhttp://{host_ip}/node\n",
    ] {
        let (double, site) = site(text.as_bytes());
        site.tick(&[]).exits(0).says("plan     create 1");
        let create = double.wait_for("POST", CREATE).json();
        let sent = create["server"]["user_data"].as_str().unwrap();
        let sent = String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap();
        assert_eq!(sent, text.replace("{host_ip}", "10.0.0.1"));
    }
}

#[test]
fn what_cloud_init_would_ignore_is_refused_with_what_to_do() {
    for (text, said) in [
        (
            &b"#cloud-init\n"[..],
            "cloud-init ignores this user data: its first line must be `#cloud-config`",
        ),
        (
            b"\x1f\x8b\x08\x00",
            "is compressed by gzip; give it as it is before gzip",
        ),
        (b"#!/bin/sh\necho {hostip}\n", "there is no tag `{hostip}`"),
    ] {
        let (_double, site) = site(text);
        site.tick(&[]).exits(78).warns(said);
    }
    let (_double, site) = site(MIME.replace("[[touch", "[touch").as_bytes());
    site.tick(&[])
        .exits(1)
        .says("the user data is not YAML once its tags are filled in: part 1: ");
}
