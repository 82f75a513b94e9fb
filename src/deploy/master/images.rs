//! Golden images that are built before the central manager, which boots from one of them.

use log::warn;

use super::find::{Proof, find};
use super::looking;
use crate::image::Builds;
use config::Config;
use openstack::CloudSettings;
use openstack::auth::Session;

/// Whether the cloud has a golden image; else it is named by the image that one begins with.
pub(super) fn has_image(cloud: &CloudSettings) -> bool {
    cloud.base_image.as_ref() != Some(&cloud.image)
}

/// Lets `build` make golden images, which nodes of the clouds and the master boot from then, and puts them into the
/// configuration. Where an interrupted run has begun the central manager in the cloud `here` from the image of the
/// configuration, it has made images already, and only where it could not they are made now. One that failed stops all only
/// in the cloud `here`. Returns what an operator should know.
///
/// # Errors
/// What the cloud says, and when there is no image for the master.
pub fn build_missing(
    config: &mut Config,
    here: &str,
    proof: &Proof,
    build: impl FnOnce(&Config, &[&CloudSettings]) -> anyhow::Result<Builds>,
) -> anyhow::Result<Vec<String>> {
    let is_begun = is_begun(config, here, proof)?;
    let clouds = config.clouds.iter();
    let clouds: Vec<_> = clouds
        .filter(|cloud| !(is_begun && has_image(cloud)))
        .collect();
    let mut notices = Vec::new();
    if is_begun {
        notices.push("goes on with the images that an interrupted run has made".to_owned());
    }
    if clouds.is_empty() {
        return Ok(notices);
    }
    let builds = build(config, &clouds)?;
    for (cloud, built) in builds.clouds {
        match built {
            Ok(built) => {
                notices.push(format!(
                    "cloud {cloud}: image {} ({}) was made of {}",
                    built.image_name, built.image_id, built.source
                ));
                let settings = config.clouds.iter_mut();
                for settings in settings.filter(|settings| settings.name == cloud) {
                    settings.image.clone_from(&built.image_id);
                }
            }
            Err(error) if cloud == here => {
                return Err(anyhow::Error::from(error).context("there is no image for the master"));
            }
            Err(error) => {
                warn!("{error}");
                notices.push(format!("no nodes there: {error}"));
            }
        }
    }
    notices.extend(builds.recorded.by_hand.iter().map(|by_hand| {
        format!(
            "not written: {}; put this into the configuration here: {}",
            by_hand.why, by_hand.lines
        )
    }));
    Ok(notices)
}

/// Whether an interrupted run has begun the central manager in the cloud `here`, from the image of the configuration.
fn is_begun(config: &Config, here: &str, proof: &Proof) -> anyhow::Result<bool> {
    let Some(here) = config.clouds.iter().find(|cloud| cloud.name == here) else {
        return Ok(false);
    };
    let session = Session::new(here, config.timeouts.request, None)?;
    let found = find(&session, &config.policy.cluster, proof, looking())?;
    let image = found.as_ref().and_then(|found| found.unfinished_image());
    Ok(has_image(here) && image == Some(&here.image))
}
