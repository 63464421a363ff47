//! Which addresses can be those of a tenant, and of its Management API, before anything is sent there.

use url::{Host, Url};

use crate::authority::{AuthorityError, AuthorityErrorKind};

/// Refuses what cannot be the address of a tenant: its own domain (`https://TENANT.REGION.auth0.com`, or
/// `https://TENANT.auth0.com` where it was made in the first region), or its custom one.
pub(super) fn check_tenant(base: &Url) -> Result<(), AuthorityError> {
    let host = base.host_str().unwrap_or_default();
    // Whatever else an address may hold could be a password.
    if !base.username().is_empty() || base.password().is_some() {
        return Err(wrong(format!(
            "the address of the tenant at {host} holds a user name or a password, which no tenant has: name its \
             domain alone, https://{host}"
        )));
    }
    if !matches!(base.path(), "" | "/") || base.query().is_some() || base.fragment().is_some() {
        return Err(wrong(format!(
            "the address of the tenant is its domain alone, without a path, a query or a fragment: https://{host}. \
             The paths of the token endpoint and of the Management API are put behind it"
        )));
    }
    let Some(Host::Domain(domain)) = base.host() else { return Ok(()) };
    let named: Vec<&str> = match domain.strip_suffix(".auth0.com") {
        Some(before) => before.split('.').collect(),
        None if domain == "auth0.com" => Vec::new(),
        None => return Ok(()),
    };
    let what = match named.as_slice() {
        ["manage", ..] => "is that of Auth0's dashboard",
        [] | ["www" | "community" | "marketplace"] => "is that of Auth0 itself",
        [_] | [_, _] => return Ok(()),
        _ => "has more names in it than that of a tenant has",
    };
    Err(wrong(format!(
        "the address {domain} {what}: name the domain of the tenant, which the dashboard shows at any of its \
         applications (Settings > Domain), for instance https://TENANT.eu.auth0.com"
    )))
}

/// Refuses what cannot be the identifier of a Management API, which Auth0 compares as a text.
pub(super) fn check_audience(audience: &str) -> Result<(), AuthorityError> {
    if audience.ends_with("/api/v2/") {
        return Ok(());
    }
    Err(wrong(
        "`management_audience` is no identifier of a Management API: it ends with /api/v2/, the slash included, \
         and names the tenant's own domain also where `url` is a custom one, as in \
         https://TENANT.eu.auth0.com/api/v2/"
            .to_owned(),
    ))
}

fn wrong(message: String) -> AuthorityError {
    AuthorityError::new(AuthorityErrorKind::Configuration, format!("auth0: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_named_by_its_own_domain_with_or_without_a_region_or_by_a_custom_one() {
        for address in [
            "https://shop.eu.auth0.com",
            "https://shop.eu.auth0.com/",
            "https://shop.auth0.com",
            "https://shop.us-3.auth0.com",
            "https://login.shop.example",
            "https://notauth0.com",
            "http://127.0.0.1:4400",
            "http://localhost:4400/",
        ] {
            check_tenant(&address.parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_a_tenant_is_refused_with_what_it_is_and_what_to_write() {
        let refused = |address: &str| {
            let error = check_tenant(&address.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        let path = refused("https://shop.eu.auth0.com/api/v2/");
        assert!(path.contains("its domain alone") && path.contains("https://shop.eu.auth0.com."));
        assert!(refused("https://shop.eu.auth0.com/?x=1").contains("without a path"));
        assert!(refused("https://shop.eu.auth0.com/#x").contains("without a path"));
        let password = refused("https://ada:hunter2@shop.eu.auth0.com");
        assert!(password.contains("a password") && !password.contains("hunter2"), "{password}");
        for dashboard in ["https://manage.auth0.com", "https://manage.shop.auth0.com"] {
            let text = refused(dashboard);
            assert!(text.contains("Auth0's dashboard") && text.contains("Settings > Domain"));
        }
        assert!(refused("https://auth0.com").contains("Auth0 itself"));
        assert!(refused("https://www.auth0.com").contains("Auth0 itself"));
        assert!(refused("https://a.shop.eu.auth0.com").contains("more names"));
    }

    #[test]
    fn the_identifier_of_the_management_api_ends_with_its_path_and_a_slash() {
        check_audience("https://shop.eu.auth0.com/api/v2/").unwrap();
        for wrong in ["https://shop.eu.auth0.com/api/v2", "https://shop.eu.auth0.com", ""] {
            assert!(check_audience(wrong).unwrap_err().to_string().contains("the slash included"));
        }
    }
}
