//! Versions and aliases: the names by which a function is invoked, and what is provisioned for each.
//!
//! ```text
//! f           what is declared: `$LATEST`
//! f:$LATEST   the same, by its qualifier
//! f:1         what was published as version 1, run by a handler of its own; a unit of the same function (`permits`)
//! f:live      an alias: the version is drawn when the invocation is accepted, so all attempts of an event run the same one
//! ```
//!
//! Neither is kept in the store: the program that runs publishes its versions and declares its aliases when it starts. What is kept
//! is an event of a version, under the version's name, and the qualifier that it was invoked by.

use crate::dispatch::{functions, limits};
use crate::payload::event::Qualifier;

use forebay_core::alias::{check_name, Alias, AliasError, Version};

use crate::api::function::{Alias as Described, AliasSettings};
use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::Change;
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;

/// An alias of a function.
pub(crate) struct Declared {
    settings: AliasSettings,
    alias: Alias,
}

impl AliasSettings {
    fn check(&self) -> Result<Alias, EngineError> {
        let weights =
            self.weights.iter().map(|(version, weight)| (version.as_str(), weight.as_f64().unwrap_or(f64::NAN)));
        Ok(Alias::new(&self.version, weights)?)
    }
}

impl From<AliasError> for EngineError {
    fn from(error: AliasError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The function that is named, and the qualifier behind it.
pub(crate) fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once(':').map_or((name, None), |(function, qualifier)| (function, Some(qualifier)))
}

/// The function that is named, and its version; `None` for the version, if what stands behind the name is not a version's.
pub(crate) fn split_version(name: &str) -> (&str, Option<Version>) {
    let (function, qualifier) = split(name);
    (function, qualifier.map_or(Some(Version::Latest), Version::parse))
}

/// Refuse what is a function's, and not one version's; `what` tells what that is.
pub(crate) fn check_unqualified(function: &str, what: &str) -> Result<(), EngineError> {
    if split(function).1.is_some() {
        let text = format!("function={function:?}: a {what} is a function's, not a version's or an alias's");
        return Err(EngineError::Invalid(text));
    }
    Ok(())
}

/// A function's name and the version of it that a registration or an event queue is of; `None` if it names neither.
pub(crate) fn version_of(name: &str) -> Option<(&str, Version)> {
    match split(name) {
        (function, None) => Some((function, Version::Latest)),
        (function, Some(number)) => {
            let version = Version::parse(number).filter(|&version| version != Version::Latest);
            version.map(|version| (function, version))
        }
    }
}

/// The name under which a version is registered.
pub(crate) fn qualified(function: &str, version: Version) -> String {
    match version {
        Version::Latest => function.to_owned(),
        Version::Published(number) => format!("{function}:{number}"),
    }
}

/// The handler that runs an invocation, and what it was invoked by. Draws the version where that is an alias.
pub(crate) fn address(room: &mut DispatchRoom<'_>, asked: &str) -> Result<(HandlerId, Qualifier), EngineError> {
    let (function, Some(qualifier)) = split(asked) else {
        let handler = room.dispatch.function_names.get(asked).copied();
        return handler.map(|handler| (handler, None)).ok_or_else(|| functions::no_function(room.dispatch, asked));
    };
    let version = match Version::parse(qualifier) {
        Some(version) => version,
        None => match room.dispatch.aliases.get(asked) {
            Some(declared) => declared.alias.pick(room.ctx.rng.next()),
            None => return Err(no_version(room, asked)),
        },
    };
    let handler = version_handler(room.dispatch, function, version).ok_or_else(|| no_version(room, asked))?;
    Ok((handler, Some(qualifier.into())))
}

pub(crate) fn version_handler(dispatch: &Dispatch, function: &str, version: Version) -> Option<HandlerId> {
    match version {
        Version::Latest => dispatch.function_names.get(function).copied(),
        Version::Published(_) => dispatch.function_names.get(&qualified(function, version)).copied(),
    }
}

/// What tells the code that is invoked by this name from what was before: another text after a move of the alias, or after the function
/// was registered anew.
pub(crate) fn code_of(dispatch: &Dispatch, asked: &str) -> String {
    let (function, qualifier) = split(asked);
    let of = |version| {
        let handler = version_handler(dispatch, function, version);
        handler.map(|handler| (handler, dispatch.functions[handler].registered))
    };
    match qualifier.map_or(Some(Version::Latest), Version::parse) {
        Some(version) => format!("{:?}", of(version)),
        None => dispatch.aliases.get(asked).map_or_else(String::new, |declared| {
            let versions: Vec<_> = declared.alias.versions().map(of).collect();
            format!("{versions:?} {:?}", declared.settings.weights)
        }),
    }
}

/// AWS's text. Before the app has told what it has, nothing is known to be missing.
pub(crate) fn no_version(room: &DispatchRoom<'_>, asked: &str) -> EngineError {
    if split(asked).1.is_none() {
        return functions::no_function(room.dispatch, asked);
    }
    if room.ctx.started {
        EngineError::NotFound(format!("Function not found: {}", room.ctx.function_arn(asked)))
    } else {
        EngineError::Closed(format!("function {asked:?} cannot run: the app is not running"))
    }
}

/// Handlers of a function: what is declared, and its versions.
pub(crate) fn handlers_of(dispatch: &Dispatch, function: &str) -> Vec<HandlerId> {
    let versions = dispatch.function_names.range(format!("{function}:")..format!("{function};"));
    dispatch.function_names.get(function).into_iter().chain(versions.map(|(_, handler)| handler)).copied().collect()
}

/// Declare an alias, or change one. On an error nothing has changed.
pub(crate) fn set_alias(
    room: &mut DispatchRoom<'_>,
    function: &str,
    name: &str,
    settings: AliasSettings,
) -> Result<Described, EngineError> {
    check_name(name)?;
    let alias = settings.check()?;
    let shares = alias.share(settings.provisioned_concurrency)?;
    let asked = format!("{function}:{name}");
    if !room.dispatch.function_names.contains_key(function) {
        return Err(functions::no_function(room.dispatch, function));
    }
    // What it pointed to before has nothing of it any more, unless it still points there.
    let before =
        room.dispatch.aliases.get(&asked).map(|declared| declared.alias.versions().collect()).unwrap_or_default();
    let mut provisioned: Vec<(HandlerId, u32)> = Vec::new();
    for (version, share) in shares {
        let Some(handler) = version_handler(room.dispatch, function, version) else {
            let arn = room.ctx.function_arn(function);
            return Err(EngineError::NotFound(format!("Function not found: {arn}:{version}")));
        };
        if settings.provisioned_concurrency > 0 {
            check_shared(room.dispatch, handler, &asked)?;
            limits::check_provisioned(room, handler, &share.into())
                .map_err(|error| EngineError::Invalid(format!("alias {name:?} on version {version}: {error}")))?;
        }
        provisioned.push((handler, share));
    }
    if settings.provisioned_concurrency == 0 {
        // What they have is their own, or another alias's.
        provisioned.clear();
    }
    move_provisioned(room, function, &asked, before, provisioned)?;
    room.dispatch.aliases.insert(asked, Declared { settings, alias });
    let handler = room.dispatch.function_names.get(function).copied();
    room.dispatch.changes.extend(handler.map(Change::Alias));
    describe_alias(room, function, name)
}

/// Give each version that an alias with provisioned concurrency points to its share, and take it from those before.
fn move_provisioned(
    room: &mut DispatchRoom<'_>,
    function: &str,
    alias: &str,
    before: Vec<Version>,
    mut shares: Vec<(HandlerId, u32)>,
) -> Result<(), EngineError> {
    let had = room.dispatch.aliases.get(alias).is_some_and(|declared| declared.settings.provisioned_concurrency > 0);
    for handler in
        before.into_iter().filter_map(|version| version_handler(room.dispatch, function, version)).filter(|_| had)
    {
        if shares.iter().all(|(other, _)| *other != handler) {
            shares.push((handler, 0));
        }
    }
    if shares.is_empty() {
        return Ok(());
    }
    limits::provision(room, function, &shares)
}

/// Refuse to provision a version twice, in AWS's words.
fn check_shared(dispatch: &Dispatch, handler: HandlerId, alias: &str) -> Result<(), EngineError> {
    if dispatch.functions[handler].limits.provisioned_concurrency > 0
        || provisioning_alias(dispatch, handler, Some(alias))
    {
        return Err(EngineError::Conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version".into(),
        ));
    }
    Ok(())
}

/// Whether an alias provisions a version. Then it can have nothing of its own, in AWS's words.
pub(crate) fn leaves_provisioning_to_alias(
    dispatch: &Dispatch,
    handler: HandlerId,
    own: u32,
) -> Result<bool, EngineError> {
    let is_left = provisioning_alias(dispatch, handler, None);
    if is_left && own > 0 {
        return Err(EngineError::Conflict("Version is pointed by a Provisioned Concurrency alias".into()));
    }
    Ok(is_left)
}

/// Whether some alias, but for this one, has provisioned concurrency and points to a version.
fn provisioning_alias(dispatch: &Dispatch, handler: HandlerId, but: Option<&str>) -> bool {
    let function = &dispatch.functions[handler];
    aliases_of(dispatch, &function.name).any(|(asked, declared)| {
        Some(asked) != but
            && declared.settings.provisioned_concurrency > 0
            && declared.alias.versions().any(|version| version == function.version)
    })
}

fn aliases_of<'a>(dispatch: &'a Dispatch, function: &str) -> impl Iterator<Item = (&'a str, &'a Declared)> {
    let aliases = dispatch.aliases.range(format!("{function}:")..format!("{function};"));
    aliases.map(|(asked, declared)| (asked.as_str(), declared))
}

/// Forget the aliases of a function.
pub(crate) fn forget_aliases(dispatch: &mut Dispatch, function: &str) {
    let begins = format!("{function}:");
    dispatch.aliases.retain(|asked, _| !asked.starts_with(&begins));
}

/// Refuse to take a version away that an alias points to.
pub(crate) fn check_no_alias(dispatch: &Dispatch, handler: HandlerId) -> Result<(), EngineError> {
    let function = &dispatch.functions[handler];
    let points = |declared: &Declared| declared.alias.versions().any(|version| version == function.version);
    match aliases_of(dispatch, &function.name).find(|(_, declared)| points(declared)) {
        Some((alias, _)) => {
            Err(EngineError::Conflict(format!("version {} is pointed to by alias {alias:?}", function.qualified())))
        }
        None => Ok(()),
    }
}

/// Take an alias away, and what its versions have of it.
pub(crate) fn alias_delete(room: &mut DispatchRoom<'_>, asked: &str) -> Result<(), EngineError> {
    let (function, name) = split(asked);
    let settings = alias_settings(room, function, name.unwrap_or_default())?.clone();
    set_alias(room, function, name.unwrap_or_default(), AliasSettings { provisioned_concurrency: 0, ..settings })?;
    room.dispatch.aliases.remove(asked);
    Ok(())
}

/// An alias's settings, of which some may be changed.
pub(crate) fn alias_settings<'a>(
    room: &'a DispatchRoom<'_>,
    function: &str,
    name: &str,
) -> Result<&'a AliasSettings, EngineError> {
    let asked = format!("{function}:{name}");
    let declared = room.dispatch.aliases.get(&asked).map(|declared| &declared.settings);
    declared.ok_or_else(|| EngineError::NotFound(format!("Cannot find alias arn: {}", room.ctx.function_arn(&asked))))
}

/// An alias, as it is listed.
pub(crate) fn describe_alias(room: &DispatchRoom<'_>, function: &str, name: &str) -> Result<Described, EngineError> {
    Ok(Described {
        settings: alias_settings(room, function, name)?.clone(),
        function: function.into(),
        name: name.into(),
        arn: room.ctx.function_arn(&format!("{function}:{name}")),
    })
}

/// A function's aliases, as they are listed.
pub(crate) fn describe_aliases(room: &DispatchRoom<'_>, function: &str) -> Vec<Described> {
    let names = aliases_of(room.dispatch, function).filter_map(|(asked, _)| split(asked).1);
    names.filter_map(|name| describe_alias(room, function, name).ok()).collect()
}
