//! A world in the state directory: it goes on where the last tick left it.

use std::io;
use std::path::{Path, PathBuf};

use super::scenario::Scenario;
use super::world::World;
use system::json;
use system::own_file;

fn path(directory: &Path) -> PathBuf {
    directory.join("world.json")
}

/// The world of `directory`, for those who only look at it; nothing where no world can be read.
pub fn read(directory: &Path) -> Option<World> {
    serde_json::from_slice(&own_file::read(&path(directory)).ok()?).ok()
}

/// The world of `directory`, or a new one: at the beginning, when the scenario is another one now, or when what is
/// there is no world.
///
/// # Errors
/// When there is a file that cannot be read.
pub fn load(directory: &Path, scenario: &Scenario) -> io::Result<World> {
    let text = match own_file::read(&path(directory)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(World::new(scenario.clone()));
        }
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice::<World>(&text) {
        Ok(world) if world.scenario == *scenario => world,
        Ok(_) | Err(_) => World::new(scenario.clone()),
    })
}

/// Writes the world to `directory`.
///
/// # Errors
/// When it cannot be written.
pub fn save(directory: &Path, world: &World) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(tick::state_directory::new_file::WORLD)
        .tempfile_in(directory)?;
    json::write(&mut file, world)?;
    file.persist(path(directory)).map_err(|error| error.error)?;
    Ok(())
}
