//! `ehos image build`: builds golden images.

use std::io::Write;

use crate::cli::{ImageBuild, ImageRecipe};
use crate::commands::{only_one, print, state_directory};
use deploy::image::{BuildRequest, Builds, RecipeOverrides, build_everywhere, preview, report};
use openstack::CloudSettings;
use system::environment::Environment;
use system::exit::Exit;
use system::lock;
use system::progress::Progress;
use tick::signing_key;
use tick::state_directory;

/// Makes the images, or says what would be done, and writes what came of it to `out`.
///
/// # Errors
/// The configuration, the state directory, and what stops a build before it begins. What happens in one cloud is no
/// error: it is in what is written.
pub fn run(
    args: &ImageBuild,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    let clouds = config.chosen(&args.clouds.names)?;
    let directory = state_directory(&args.common, &config, environment)?;
    let keys = if args.dry_run {
        signing_key::load(&directory, config.folder(), environment)
    } else {
        state_directory::prepare(&directory).map_err(|error| match error {
            // Only root can write ehos.d beside /etc/ehos/ehos.yaml.
            error @ state_directory::Error::Foreign { .. } => anyhow::Error::from(error).context(
                "no image built; as root give a state directory of root (--state-dir /root/ehos), so that 50-image.yaml can be \
                 written, or",
            ),
            error => error.into(),
        })?;
        signing_key::load_or_make(&directory, config.folder(), environment)
    };
    let request = BuildRequest {
        config: &config,
        recipe: recipe(&args.recipe),
        keep_server: args.keep_server,
        environment,
        state_directory: &directory,
        files: &args.common.config,
        keys: &keys,
    };
    let exit = |well: bool| if well { Exit::Done } else { Exit::Failed };
    if args.dry_run {
        let previews = preview(&request, &clouds)?;
        let exit = exit(previews.iter().all(|(_, preview)| preview.is_ok()));
        let text = || report::preview_text(&previews);
        print(out, args.output, text, || {
            report::preview_json(&previews, exit)
        })?;
        return Ok(exit);
    }
    let builds = build(&request, &clouds, &Progress::with_afterword())?;
    let mut built = builds.clouds.iter().map(|(_, built)| built.as_ref());
    let exit = exit(built.all(|built| built.is_ok_and(|built| built.server_left.is_none())));
    let text = || report::text(&builds);
    print(out, args.output, text, || report::json(&builds, exit))?;
    Ok(exit)
}

/// Builds images while no other build uses this state directory.
pub(super) fn build(
    request: &BuildRequest,
    clouds: &[&CloudSettings],
    progress: &Progress,
) -> anyhow::Result<Builds> {
    let _lock = only_one(request.state_directory, lock::IMAGE, "ehos image build")?;
    build_everywhere(request, clouds, progress)
}

fn recipe(recipe: &ImageRecipe) -> RecipeOverrides {
    RecipeOverrides {
        base: recipe.base.clone(),
        from: recipe.from.clone(),
        flavor: recipe.flavor.clone(),
        name: recipe.name.clone(),
        keep_failed: recipe.keep_failed,
        timeout: recipe.timeout,
    }
}
