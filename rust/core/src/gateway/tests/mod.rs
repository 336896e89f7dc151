//! What a user notices of the parts of the gateway, by tables: what goes in, what comes out.

mod declared;
mod function_urls;
mod identities;
mod paths;
mod told;
