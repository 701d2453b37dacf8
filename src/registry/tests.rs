//! Properties of the registry.

use proptest::collection::vec;
use proptest::prelude::*;

use super::oracle;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Subscribing, renewing, ending, expiring and listing, in any order, with places used again
    /// and destinations shared: never early, never more than a tick late, never one too many.
    #[test]
    fn any_changes_leave_what_the_oracle_has(bytes in vec(any::<u8>(), 0..600)) {
        oracle::run(&bytes);
    }
}
