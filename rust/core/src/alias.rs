//! Versions and aliases: what an alias may be, and which version an invocation by it runs.
//!
//! An alias names one version, and a second one with a share of the invocations. Each invocation is drawn by itself, so with
//! few of them the shares are only about right.
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html>

use std::fmt;

/// What `$LATEST` is called.
pub const LATEST: &str = "$LATEST";
/// Most characters of an alias's name.
const NAME_CHARACTERS_MAX: usize = 128;

/// A version of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// What is declared, unpublished.
    Latest,
    /// What was published under a number, from 1 upwards.
    Published(u32),
}

impl Version {
    /// `$LATEST` or a number as [`fmt::Display`] writes it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == LATEST {
            return Some(Self::Latest);
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| is_plain).map(Self::Published)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Published(number) => write!(f, "{number}"),
        }
    }
}

/// Why an alias is refused. The texts are AWS's where AWS has the same mistake.
#[derive(Clone, Debug, PartialEq)]
pub enum AliasError {
    /// It is not a name of an alias.
    Name(String),
    /// It is not a version.
    Version(String),
    /// More than one version beside the first.
    TooMany,
    /// `$LATEST` beside another version.
    LatestShared,
    /// The second version is the first.
    Same(Version),
    /// A share that is none.
    Weight(Version, f64),
    /// Provisioned concurrency for `$LATEST`.
    LatestProvisioned,
}

impl fmt::Display for AliasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "alias={name:?}: an alias's name has 1 to {NAME_CHARACTERS_MAX} letters, digits, '-' and '_', and is not a number"
            ),
            Self::Version(text) => {
                write!(f, "version={text:?}: allowed are \"{LATEST}\" and the number of a published version")
            }
            Self::TooMany => f.write_str("Number of items in AdditionalVersionWeights cannot be greater than 1"),
            Self::LatestShared => {
                write!(f, "{LATEST} is not supported for an alias pointing to more than 1 version")
            }
            Self::Same(version) => write!(
                f,
                "Invalid function version {version}. Function version {version} is already included in routing configuration."
            ),
            Self::Weight(version, weight) => {
                write!(f, "weights={{\"{version}\": {weight}}}: allowed are shares from 0.0 to 1.0")
            }
            Self::LatestProvisioned => {
                f.write_str("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
            }
        }
    }
}

impl std::error::Error for AliasError {}

/// Refuse what cannot name an alias.
pub fn check_name(name: &str) -> Result<(), AliasError> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if is_word && !is_number && (1..=NAME_CHARACTERS_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(AliasError::Name(name.to_owned()))
}

/// Where an alias points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alias {
    version: Version,
    /// The second version and its share.
    additional: Option<(Version, f64)>,
}

impl Alias {
    /// An alias of a version and, by its weight, of one more.
    pub fn new<'a>(version: &str, weights: impl IntoIterator<Item = (&'a str, f64)>) -> Result<Self, AliasError> {
        let read = |text: &str| Version::parse(text).ok_or_else(|| AliasError::Version(text.to_owned()));
        let version = read(version)?;
        let mut weights = weights.into_iter();
        let Some((second, weight)) = weights.next() else { return Ok(Self { version, additional: None }) };
        let second = read(second)?;
        if weights.next().is_some() {
            return Err(AliasError::TooMany);
        }
        if [version, second].contains(&Version::Latest) {
            return Err(AliasError::LatestShared);
        }
        if version == second {
            return Err(AliasError::Same(version));
        }
        if !(0.0..=1.0).contains(&weight) {
            return Err(AliasError::Weight(second, weight));
        }
        Ok(Self { version, additional: Some((second, weight)) })
    }

    /// The version it points to.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Every version it points to.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        std::iter::once(self.version).chain(self.additional.map(|(version, _)| version))
    }

    /// The version that one invocation runs. `entropy` is drawn for it alone.
    pub fn pick(&self, entropy: u64) -> Version {
        // The 53 bits that a float holds exactly: 0.0 is never below a weight of 0, and always below a weight of 1.
        let drawn = (entropy >> 11) as f64 / (1u64 << 53) as f64;
        match self.additional {
            Some((second, weight)) if drawn < weight => second,
            _ => self.version,
        }
    }

    /// Share provisioned concurrency out to its versions, by weight; each that is invoked at all has one, where there are two.
    pub fn share(&self, provisioned: u32) -> Result<Vec<(Version, u32)>, AliasError> {
        if self.version == Version::Latest && provisioned > 0 {
            return Err(AliasError::LatestProvisioned);
        }
        let Some((second, weight)) = self.additional else { return Ok(vec![(self.version, provisioned)]) };
        let rounded = (f64::from(provisioned) * weight).round() as u32;
        let is_shared = provisioned > 1 && weight > 0.0 && weight < 1.0;
        let its = if is_shared { rounded.clamp(1, provisioned - 1) } else { rounded };
        Ok(vec![(self.version, provisioned - its), (second, its)])
    }
}
