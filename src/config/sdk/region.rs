//! The region of a cloud, which openstacksdk takes from several places.

use super::{Keys, Value, text};
use yaml::Node;

impl Keys {
    /// Chooses the region, and puts its own values over the rest.
    pub(crate) fn choose_region(&mut self, wanted: Option<&str>) {
        let named = self.beside.remove("region_name");
        let regions = self.beside.remove("regions");
        let is_list = regions.is_some();
        let own = named.clone().filter(|_| is_list);
        let Some(listed) = regions.or(named) else {
            return;
        };
        let Some(names) = names(&listed.node) else {
            let what = "each region is a name, or a mapping of `name` and `values`";
            return self.problem(&listed, what);
        };
        let wanted = wanted.or(own.as_ref().and_then(|own| text(&own.node)));
        let index = match (wanted, names.as_slice()) {
            (Some(wanted), _) => names.iter().position(|(name, _)| name == wanted),
            (None, [_]) => Some(0),
            (None, _) => None,
        };
        if let Some((index, (name, values))) = index.and_then(|at| Some((at, names.get(at)?))) {
            let number = (index + 1).to_string();
            let mut path: Vec<&str> = listed.path.iter().map(String::as_str).collect();
            if is_list {
                path.extend([number.as_str(), "values"]);
            }
            self.put(values, listed.origin, &path);
            self.set_region(Some(name), &listed);
        } else if !is_list && names.len() == 1 {
            // One that is only the entry's own default may be replaced by any.
            self.set_region(wanted, &listed);
        } else if !names.is_empty() {
            let all: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            let all = all.join(", ");
            let what = match wanted {
                Some(wanted) => (
                    format!("there is no region `{wanted}` in it"),
                    format!("expected one of {all}"),
                ),
                None => (
                    format!("has several regions: {all}"),
                    "set `region_name` in ehos.yaml, or $OS_REGION_NAME with $OS_CLOUD".to_owned(),
                ),
            };
            self.problem(&listed, what);
        }
    }

    fn set_region(&mut self, name: Option<&str>, listed: &Value) {
        self.region = name.map(str::to_owned);
        let value = Value {
            node: name.map_or(Node::Null, |name| Node::Text(name.to_owned())),
            ..listed.clone()
        };
        self.beside.insert("region_name".to_owned(), value);
    }

    /// Puts the region into the places that openstacksdk keeps for it.
    pub(super) fn put_in(&mut self, value: Option<Value>) -> Option<Value> {
        let mut value = value?;
        if let (Node::Text(url), Some(region)) = (&mut value.node, &self.region) {
            *url = url.replace("{region_name}", region);
        }
        if text(&value.node).is_some_and(|url| url.contains('{')) {
            self.problem(
                &value,
                (
                    "has a `{` that ehos cannot fill in (only {region_name} is filled in)",
                    "write the address itself",
                ),
            );
        }
        Some(value)
    }
}

/// The regions that a value names, with the values of each; `None` where one has no name.
fn names(node: &Node) -> Option<Vec<(String, Node)>> {
    let items = match node {
        Node::List(items) => items.clone(),
        // What openstacksdk once had in the place of a list.
        Node::Text(text) => {
            let names = text.split(',');
            names
                .map(|name| Node::Text(name.trim().to_owned()))
                .collect()
        }
        other => vec![other.clone()],
    };
    let named = |item: &Node| {
        let name = match item {
            Node::Text(name) => name,
            map => text(map.get("name")?)?,
        };
        let values = item.get("values").cloned().unwrap_or(Node::Null);
        Some((name.to_owned(), values))
    };
    items.iter().map(named).collect()
}
