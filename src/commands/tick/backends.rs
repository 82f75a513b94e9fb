//! The real backends of a tick: HTCondor and the clouds of the configuration.

use std::path::Path;

use ::tick::backends::Backends;
use ::tick::cloud::Cloud;
use condor::{CondorPool, MatchFile, StartdAttributes};
use config::Config;
use openstack::CloudSettings;
use openstack::{self, OpenStackCloud};
use scaling::signing::SigningKeys;
use scaling::sorting::IntoMap;
use userdata::node::NodeUserData;

/// Returns the backends of the configuration, without a query yet. Tokens of clouds and look-ups are kept in
/// `token_folder`, if given (a dry run writes nothing), and matches in `matches`. New servers are signed with `keys`.
///
/// # Errors
/// The `cacert` of a cloud cannot be used.
pub fn real<'a>(
    config: &'a Config,
    user_data: &'a NodeUserData<'a>,
    token_folder: Option<&Path>,
    matches: MatchFile,
    keys: &SigningKeys,
) -> Result<Backends<'a>, openstack::Error> {
    let Config {
        policy, timeouts, ..
    } = config;
    let pool = CondorPool::new(
        &config.condor,
        policy.negotiation_cycle,
        policy.update_interval,
        timeouts.command,
    )
    .remembering(matches, startd_attributes(config))
    .naming_jobs(config.show_owners);
    let mut clouds: Vec<Box<dyn Cloud + 'a>> = Vec::new();
    for settings in &config.clouds {
        let cache = token_folder.map(|folder| openstack::token_cache(folder, &settings.name));
        let cloud = OpenStackCloud::new(
            settings,
            &policy.cluster,
            timeouts.request,
            cache,
            Box::new(move |intent, region, deadline| {
                user_data.render(settings, intent, region, deadline)
            }),
        )?;
        let cloud = cloud
            .joining(policy.condor_host.as_deref())
            .signing(keys.clone())
            .keeping_lookups(
                token_folder.map(|folder| openstack::lookups_file(folder, &settings.name)),
            );
        clouds.push(Box::new(
            cloud.finding_floating_ips(policy.purge_floating_ips),
        ));
    }
    Ok(Backends {
        pool: Box::new(pool),
        clouds,
    })
}

/// What the configuration says of new nodes' ads, by cloud.
fn startd_attributes(config: &Config) -> StartdAttributes {
    let of = |settings: &CloudSettings| {
        let attributes = settings.startd_attributes.clone();
        (settings.name.clone(), attributes.into_iter().collect())
    };
    config.clouds.iter().map(of).into_map()
}
