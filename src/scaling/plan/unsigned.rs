//! Names servers that carry this pool's id without a valid signature, with the remedy.
//!
//! Must not: decide anything about them. They create, drain and delete nothing.

use super::planner::Planner;

/// More of them are only counted.
const MAX_TOLD: usize = 10;

impl Planner<'_> {
    /// The notice about execute servers and builders without a valid signature.
    pub(super) fn unsigned(&self) -> Option<String> {
        let nodes = self.ending.iter().filter_map(|index| {
            let node = self.node(*index);
            node.memory.unsigned?;
            let memory = self.next.nodes.get(&node.id)?;
            memory.unsigned?;
            let server = memory.server_id.as_deref().unwrap_or_default();
            Some((
                &memory.node_type.cloud,
                memory.name.as_str(),
                server.to_owned(),
            ))
        });
        let builders = self.survey.builders.iter().filter_map(|builder| {
            let memory = self.next.builders.get(builder.server.id())?;
            let name = builder.server.record().name.as_str();
            memory
                .unsigned
                .then(|| (&builder.cloud, name, builder.server.id().to_owned()))
        });
        let all: Vec<String> = nodes
            .chain(builders)
            .map(|(cloud, name, server)| format!("{name} ({server}, cloud {cloud})"))
            .collect();
        let more = all.len().saturating_sub(MAX_TOLD);
        let servers = match all.len() {
            0 => return None,
            1 => "1 server carries".to_owned(),
            count => format!("{count} servers carry"),
        };
        let names: Vec<&str> = all.iter().take(MAX_TOLD).map(String::as_str).collect();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Some(format!(
            "{servers} the id of this pool without a valid ehos_proof: {}{more}: forged, or signed with a lost key, so ehos does not \
         touch them; delete them, or run `ehos tick --trust-server UUID` for those of this pool",
            names.join(", ")
        ))
    }
}
