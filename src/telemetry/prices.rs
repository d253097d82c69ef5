//! What an origin's operator charges, for the sums of money that statistics show.

/// Bytes in a gigabyte as prices mean it.
const GIGABYTE: f64 = 1e9;

/// Prices in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A thousand GetObject or HeadObject requests.
    pub get_requests: f64,
    /// A thousand other requests: PUT, COPY, POST, LIST.
    pub other_requests: f64,
    /// A gigabyte (10^9 bytes) that the origin sends.
    pub transfer: f64,
}

impl Default for Prices {
    /// S3 Standard in us-east-1, read from within the region, where transfer is free:
    /// <https://aws.amazon.com/s3/pricing/>.
    fn default() -> Self {
        Self {
            get_requests: 0.0004,
            other_requests: 0.005,
            transfer: 0.0,
        }
    }
}

impl Prices {
    /// What so many requests and bytes cost.
    pub(super) fn cost(&self, get_requests: f64, other_requests: f64, bytes: f64) -> f64 {
        (get_requests * self.get_requests + other_requests * self.other_requests) / 1000.0
            + bytes / GIGABYTE * self.transfer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_reads_cost_forty_cents() {
        let prices = Prices::default();
        assert!((prices.cost(1e6, 0.0, 1e12) - 0.40).abs() < 1e-9);
        let far = Prices {
            transfer: 0.09,
            ..prices
        };
        assert!((far.cost(0.0, 1000.0, 1e12) - 90.005).abs() < 1e-9);
    }
}
