//! Where the services of a cloud are: the catalog that comes with a token.

use std::collections::BTreeSet;

use scaling::sorting::IntoSet;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::compute::FIRST;
use super::error::Error;
use super::http::Request;
use super::items;
use crate::CloudSettings;
use scaling::observation::Unread;

/// For an endpoint that the catalog lacks.
const REMEDY: &str = "correct `region_name` or `interface`, or the roles on the project";

/// A service that ehos asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Nova. Its endpoint names the version, and in older clouds the project.
    Compute,
    /// Glance, v2.
    Image,
    /// Neutron, v2.0.
    Network,
    /// Cinder, v3. Its endpoint names the version.
    Volume,
}

impl Service {
    /// The request in the first version that Nova has; the other services have no versions.
    pub(super) fn at_first<'r>(self, request: Request<'r>) -> Request<'r> {
        match self {
            Service::Compute => request.at(FIRST),
            _ => request,
        }
    }

    pub fn catalog_type(self) -> &'static str {
        match self {
            Service::Compute => "compute",
            Service::Image => "image",
            Service::Network => "network",
            Service::Volume => "volumev3",
        }
    }

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Service::Volume => "volume",
            other => other.catalog_type(),
        }
    }

    /// Whether an entry of the catalog is this service.
    fn is(self, kind: &str) -> bool {
        // The official name of Cinder's is not the usual one.
        kind == self.catalog_type() || (self == Service::Volume && kind == "block-storage")
    }

    /// What is added to an endpoint that does not name the version itself.
    fn version(self) -> &'static str {
        match self {
            Service::Compute | Service::Volume => "",
            Service::Image => "/v2",
            Service::Network => "/v2.0",
        }
    }
}

/// All services, as Keystone lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Catalog {
    services: Vec<CatalogService>,
    /// Entries and endpoints that cannot be read: a service that is not asked loses nothing by it.
    #[serde(skip)]
    unread: Vec<Unread>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CatalogService {
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, borrow)]
    endpoints: Vec<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Catalog {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Catalog, D::Error> {
        let entries = Vec::<&RawValue>::deserialize(from)?;
        let entries = items::each::<Wire<'_>>("catalog entry", &entries);
        let mut unread: Vec<Unread> = entries.unread.into_iter().map(|item| item.told).collect();
        let mut services = Vec::with_capacity(entries.read.len());
        for Wire { kind, endpoints } in entries.read {
            let what = format!("catalog entry {kind}: endpoint");
            let endpoints = items::each(&what, &endpoints);
            unread.extend(endpoints.unread.into_iter().map(|item| item.told));
            services.push(CatalogService {
                kind,
                endpoints: endpoints.read,
            });
        }
        Ok(Catalog { services, unread })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region_id: Option<String>,
    /// The older word for the same.
    #[serde(default)]
    region: Option<String>,
    url: String,
}

impl Endpoint {
    fn region(&self) -> &str {
        self.region_id
            .as_deref()
            .or(self.region.as_deref())
            .unwrap_or_default()
    }
}

impl Catalog {
    /// What of it cannot be read.
    pub fn unread(&self) -> &[Unread] {
        &self.unread
    }

    /// The address of `service`, without a slash at its end, for the region and interface of `settings`.
    /// Without a configured region there must be only one.
    pub fn url(&self, service: Service, settings: &CloudSettings) -> Result<String, Error> {
        let given = settings.services.endpoint_overrides.get(service.name());
        let url = match given {
            Some(url) => url,
            None => &self.endpoint(service, settings)?.url,
        };
        let url = url.trim_end_matches('/');
        let version = match service {
            // An address that is given need not name the version, as the catalog's does.
            Service::Compute if given.is_some() && is_bare(url) => "/v2.1",
            _ => service.version(),
        };
        if url.ends_with(version) {
            Ok(url.to_owned())
        } else {
            Ok(format!("{url}{version}"))
        }
    }

    /// The region that servers are in: the configured one, or the only one there is.
    pub fn region(&self, settings: &CloudSettings) -> Result<String, Error> {
        let services = &settings.services;
        let compute = Service::Compute.name();
        if services.endpoint_overrides.contains_key(compute)
            && let Some(region) = services
                .region_names
                .get(compute)
                .or(settings.region.as_ref())
        {
            return Ok(region.clone());
        }
        Ok(self
            .endpoint(Service::Compute, settings)?
            .region()
            .to_owned())
    }

    fn endpoint(&self, service: Service, settings: &CloudSettings) -> Result<&Endpoint, Error> {
        let kind = service.catalog_type();
        // `publicURL` is what the v2 tools wrote.
        let own = settings.services.interfaces.get(service.name());
        let interface = own.unwrap_or(&settings.interface).trim_end_matches("URL");
        let own = settings.services.region_names.get(service.name());
        let wanted = own.or(settings.region.as_ref());
        let endpoints: Vec<&Endpoint> = self
            .services
            .iter()
            .filter(|entry| service.is(&entry.kind))
            .flat_map(|entry| &entry.endpoints)
            .collect();
        let fitting: Vec<&Endpoint> = endpoints
            .iter()
            .filter(|endpoint| endpoint.interface == interface)
            .filter(|endpoint| wanted.is_none_or(|region| endpoint.region() == region))
            .copied()
            .collect();
        let regions: BTreeSet<&str> = fitting.iter().map(|endpoint| endpoint.region()).into_set();
        if regions.len() > 1 {
            let problem = format!("several regions have the {kind} service");
            let remedy = format!("set `region_name` to one of: {}", list(regions));
            return Err(Error::Misconfigured {
                cloud: settings.name.clone(),
                advice: (problem, remedy).into(),
            });
        }
        fitting.first().copied().ok_or_else(|| {
            let there = endpoints
                .iter()
                .map(|endpoint| format!("{} in {}", endpoint.interface, endpoint.region()))
                .into_set();
            let there = if there.is_empty() {
                let types: BTreeSet<&str> =
                    self.services.iter().map(|s| s.kind.as_str()).into_set();
                format!("no {kind}, only: {}", list(types))
            } else {
                list(there.iter().map(String::as_str))
            };
            let region = wanted.map_or(String::new(), |region| format!(" in region {region}"));
            let problem = format!(
                "no {interface} endpoint of the {kind} service{region}: the catalog has: {there}"
            );
            Error::NotInCatalog {
                cloud: settings.name.clone(),
                advice: (problem, REMEDY).into(),
            }
        })
    }
}

/// Whether it is a host without a path.
fn is_bare(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    !rest.contains('/')
}

fn list<'s>(words: impl IntoIterator<Item = &'s str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}
