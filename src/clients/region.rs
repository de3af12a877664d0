//! The addresses of AWS's services in a region, as the AWS SDKs derive them.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html>

use reqwest::Url;

/// A partition of AWS: the beginning of its regions' names, the suffix of its hosts, and that of its dual-stack hosts.
type Partition = (&'static str, &'static str, &'static str);

/// The partitions whose hosts have another suffix than AWS's usual one, which GovCloud shares.
const PARTITIONS: [Partition; 6] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
];
const USUAL: Partition = ("", "amazonaws.com", "api.aws");

/// The kind of an address, if it is not the usual one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Only cryptography that FIPS 140 allows (`AWS_USE_FIPS_ENDPOINT`).
    pub(crate) is_fips: bool,
    /// IPv6 beside IPv4 (`AWS_USE_DUALSTACK_ENDPOINT`).
    pub(crate) is_dual_stack: bool,
}

/// Returns the address of the service whose hosts begin with `service`, in this region.
///
/// # Errors
/// Returns an error that names the region if it is no label of a host. It would lead elsewhere.
pub(crate) fn address(service: &str, region: &str, variant: Variant) -> Result<Url, String> {
    let is_label = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_label {
        return Err(format!("{region:?} is no AWS region"));
    }
    let fips = if variant.is_fips { "-fips" } else { "" };
    let suffix = suffix(region, variant.is_dual_stack);
    Url::parse(&format!("https://{service}{fips}.{region}.{suffix}/"))
        .map_err(|error| format!("{region:?} is no AWS region: {error}"))
}

/// Returns the suffix of the hosts of a region.
fn suffix(region: &str, is_dual_stack: bool) -> &'static str {
    let (_, usual, dual_stack) = PARTITIONS.into_iter().find(|(start, ..)| region.starts_with(start)).unwrap_or(USUAL);
    if is_dual_stack { dual_stack } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_own_suffixes() {
        for (region, usual, dual_stack) in [
            ("us-east-1", "amazonaws.com", "api.aws"),
            ("eu-central-1", "amazonaws.com", "api.aws"),
            ("me-south-1", "amazonaws.com", "api.aws"),
            ("us-gov-west-1", "amazonaws.com", "api.aws"),
            ("of-the-future-1", "amazonaws.com", "api.aws"),
            ("cn-north-1", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu", "api.amazonwebservices.eu"),
            ("us-iso-east-1", "c2s.ic.gov", "api.aws.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov", "api.aws.scloud"),
            ("eu-isoe-west-1", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
            ("us-isof-south-1", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ] {
            for (is_fips, service) in [(false, "lambda"), (true, "lambda-fips")] {
                for (is_dual_stack, suffix) in [(false, usual), (true, dual_stack)] {
                    let url = address("lambda", region, Variant { is_fips, is_dual_stack }).unwrap();
                    assert_eq!(url.as_str(), format!("https://{service}.{region}.{suffix}/"));
                }
            }
        }
    }

    #[test]
    fn what_is_no_region_leads_nowhere() {
        for region in ["", "us-east-1.example.com", "x@example.com/", "us east 1", "us-east-1\n"] {
            let error = address("ssm", region, Variant::default()).unwrap_err();
            assert!(error.contains("is no AWS region"), "{error}");
        }
    }
}
