//! All APIs that are served at a moment, and which of them answers a request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::gateway::api::{Api, Kind, DEFAULT_STAGE, PREFIX};

/// All APIs that are served at a moment.
#[derive(Clone, Debug, Default)]
pub struct Apis {
    list: Vec<Arc<Api>>,
    by_name: HashMap<String, usize>,
    /// How many there are by their ids.
    count: usize,
}

/// An API that was found, and the path in it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The API.
    pub api: Arc<Api>,
    /// Where it stands in the list.
    pub index: usize,
    /// The path behind what led to it.
    pub path: &'a str,
}

/// What a host that nobody has declared says of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// Its id.
    Id(&'a str),
    /// Its name or its id.
    Name(&'a str),
}

impl<'a> Named<'a> {
    /// Read `{id}.execute-api.{region}.amazonaws.com`, `{id}.lambda-url.{region}.on.aws` and `{name}.localhost`. Under any other suffix a host
    /// is somebody's who may have it point anywhere, at this machine, too: a page of his would reach the API by it.
    pub fn by(host: &'a str) -> Option<Self> {
        let (label, rest) = host.split_once('.')?;
        if rest == "localhost" {
            return Some(Self::Name(label));
        }
        let (service, rest) = rest.split_once('.')?;
        let (region, suffix) = rest.split_once('.')?;
        let is_region = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let suffixes: &[&str] = match service {
            "execute-api" => &["amazonaws.com", "amazonaws.com.cn", "api.aws", "localhost"],
            "lambda-url" => &["on.aws", "localhost"],
            _ => &[],
        };
        (is_region && suffixes.contains(&suffix)).then_some(Self::Id(label))
    }
}

impl Apis {
    /// With one more, or with another one instead of one of the same kind and name.
    #[must_use]
    pub fn with(&self, api: Api) -> Self {
        let mut list: Vec<Arc<Api>> = self.list.iter().filter(|known| known.id != api.id).cloned().collect();
        list.push(Arc::new(api));
        Self::of(list)
    }

    /// Without the one of this id.
    #[must_use]
    pub fn without(&self, id: &str) -> Self {
        Self::of(self.list.iter().filter(|known| known.id != id).cloned().collect())
    }

    /// With others; one of the same id stays as it is.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        let more = others.list.iter().filter(|one| self.list.iter().all(|known| known.id != one.id));
        Self::of(self.list.iter().chain(more).cloned().collect())
    }

    /// Those that calls have made: one for each stage.
    pub fn staged(list: Vec<Api>) -> Self {
        Self::of(list.into_iter().map(Arc::new).collect())
    }

    fn of(list: Vec<Arc<Api>>) -> Self {
        let mut by_name = HashMap::new();
        let count = list.iter().map(|api| &api.id).collect::<HashSet<_>>().len();
        for (at, api) in list.iter().enumerate() {
            by_name.entry(api.id.clone()).or_insert(at);
            for host in &api.hosts {
                by_name.insert(host.clone(), at);
            }
            // A URL is found by its function's name only where no API has it, and so is what calls have made: a program's own comes first.
            if api.kind == Kind::Url || api.is_made {
                by_name.entry(api.name.clone()).or_insert(at);
            } else {
                by_name.insert(api.name.clone(), at);
            }
        }
        Self { list, by_name, count }
    }

    /// The stage of a request by its index, with the API that serves it and the path in it.
    pub fn stage<'a>(&self, place: Place<'a>) -> Option<(Place<'a>, usize, &'a str)> {
        if !place.api.is_made {
            let (stage, path) = place.api.stage(place.path)?;
            return Some((place, stage, path));
        }
        let first = place.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let id = &place.api.id;
        let named = |name: &str| {
            let mut all = self.list.iter().enumerate();
            all.find(|(_, api)| api.id == *id && api.stages[0].name == name)
        };
        let (index, api) = named(first).or_else(|| named(DEFAULT_STAGE))?;
        let (stage, path) = api.stage(place.path)?;
        Some((Place { api: api.clone(), index, path: place.path }, stage, path))
    }

    /// In the order in which they were declared.
    pub fn list(&self) -> &[Arc<Api>] {
        &self.list
    }

    /// The API of an id or a name.
    pub fn get(&self, id_or_name: &str) -> Option<&Arc<Api>> {
        self.by_name.get(id_or_name).map(|&at| &self.list[at])
    }

    /// Whether somebody answers under this host.
    pub fn has_host(&self, host: &str) -> bool {
        self.by_host(host).is_some()
    }

    fn by_host(&self, host: &str) -> Option<usize> {
        let found = |name: &str| self.by_name.get(name).map(|&at| (at, &self.list[at]));
        let fitting = match Named::by(host) {
            Some(Named::Id(id)) => found(id).filter(|(_, api)| api.id == id),
            Some(Named::Name(name)) => found(name),
            None => None,
        };
        let declared = || found(host).filter(|(_, api)| api.hosts.iter().any(|known| known == host));
        fitting.or_else(declared).map(|(at, _)| at)
    }

    /// The API of an id, behind a port of its own: its path begins at the root.
    pub fn only<'a>(&self, id: &str, path: &'a str) -> Option<Place<'a>> {
        let &index = self.by_name.get(id)?;
        Some(Place { api: self.list[index].clone(), index, path })
    }

    /// Who answers a request: by its host, by `/_apis/{id or name}` before its path, or because there is no other.
    pub fn find<'a>(&self, host: &str, path: &'a str) -> Option<Place<'a>> {
        let place = |index: usize, path| Place { api: self.list[index].clone(), index, path };
        if let Some(at) = self.by_host(host) {
            return Some(place(at, path));
        }
        if let Some(rest) = path.strip_prefix(PREFIX) {
            let (name, _) = rest.split_once('/').unwrap_or((rest, ""));
            let path = &rest[name.len()..];
            return self.by_name.get(name).map(|&at| place(at, if path.is_empty() { "/" } else { path }));
        }
        (self.count == 1).then(|| place(0, path))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateway::api::id;

    fn named(name: &str) -> Api {
        let definition = json!({"name": name, "hosts": [format!("{name}.example.com")],
                       "routes": [{"key": "GET /a/{id}", "target": {"function": "f"}}]});
        Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap()
    }

    #[test]
    fn an_api_is_found_by_host_by_path_and_alone() {
        let one = Apis::default().with(named("shop"));
        let two = one.with(named("chat"));
        let id = id("app", Kind::Http, "shop");
        let found = |apis: &Apis, host: &str, path: &str| {
            apis.find(host, path).map(|place| (place.api.name.clone(), place.path.to_owned()))
        };
        let shop = |path: &str| Some(("shop".to_owned(), path.to_owned()));
        assert_eq!(found(&one, "localhost", "/a/1"), shop("/a/1"));
        assert_eq!(found(&two, "localhost", "/a/1"), None);
        assert_eq!(found(&two, "localhost", "/_apis/shop/a/1"), shop("/a/1"));
        assert_eq!(found(&two, "localhost", &format!("/_apis/{id}")), shop("/"));
        assert_eq!(found(&two, "shop.example.com", "/a"), shop("/a"));
        for own in
            ["execute-api.eu-west-1.amazonaws.com", "execute-api.eu-west-1.localhost", "lambda-url.eu-west-1.on.aws"]
        {
            assert_eq!(found(&two, &format!("{id}.{own}"), "/a"), shop("/a"), "{own}");
        }
        // Ids can be worked out: a page whose own name has one before it reached the API.
        for other in
            ["execute-api.local.example.com", "execute-api.a.amazonaws.com.example.com", "lambda-url.a.b.on.aws"]
        {
            assert_eq!(found(&two, &format!("{id}.{other}"), "/a"), None, "{other}");
        }
        assert_eq!(found(&two, "shop.localhost", "/a"), shop("/a"));
        assert_eq!(found(&two, "shop.execute-api.evil.example.com", "/a"), None);
        assert_eq!(found(&two.without(&id), "127.0.0.1", "/").unwrap().0, "chat");
    }
}
