//! Which member a unit belongs to: rendezvous hashing, so that all who know the same members agree, and a member that comes or goes moves
//! its own units alone.

use crate::cluster::{Member, UnitId};

/// The member of these that a unit belongs to; `None` where there is none.
pub fn placed<'a>(unit: UnitId, members: impl IntoIterator<Item = &'a Member>) -> Option<&'a Member> {
    members.into_iter().max_by_key(|name| (weight(unit, name), *name))
}

/// FNV-1a over the name, then mixed with the unit until each bit depends on all of them.
fn weight(unit: UnitId, name: &str) -> u64 {
    let named = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut bits = named ^ u64::from(unit).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes of two releases agree on the members of units.
    #[test]
    fn a_unit_stays_with_its_member_over_releases() {
        let members = ["a", "b", "c"].map(Member::from);
        let placed: String = (0..16).filter_map(|unit| placed(unit, &members)).map(String::as_str).collect();
        assert_eq!(placed, "ccaabacbbbcacaba");
    }

    /// As FNV-1a and the mixer of `SplitMix64` are published.
    #[test]
    fn a_weight_has_all_bits_of_the_name_and_the_unit() {
        let members = ["member-1", "member-2", "member-3", "member-4"].map(Member::from);
        let placed: String = (0..64).filter_map(|unit| placed(unit, &members)?.chars().next_back()).collect();
        assert_eq!(placed, "2114441243411343143224131323212444311243123131342444113311232132");
        assert_eq!([weight(0, "a"), weight(9, "")], [0x832b_e066_bd43_a3b8, 0x7733_b67a_feec_9db9]);
        assert_eq!(super::placed(0, &[]), None);
    }
}
