//! Lists that are read from files. Each has a bound, so that a small file takes no large memory.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads a list of at most `N` elements.
pub(super) fn at_most<'de, D, T, const N: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Few<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Few<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {N}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == N {
                    return Err(A::Error::custom(format!("a list has more than {N} elements")));
                }
                elements.push(element);
            }
            elements.shrink_to_fit();
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(Few::<T, N>(PhantomData))
}

/// Reads counts by their names, at most `N` of them.
pub(super) fn counts<'de, D, const N: usize>(
    deserializer: D,
) -> Result<BTreeMap<String, u64>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Few<const N: usize>;

    impl<'de, const N: usize> Visitor<'de> for Few<N> {
        type Value = BTreeMap<String, u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} counts with their names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut counts = BTreeMap::new();
            while let Some((name, count)) = map.next_entry()? {
                counts.insert(name, count);
                if counts.len() > N {
                    return Err(A::Error::custom(format!("there are more than {N} names")));
                }
            }
            Ok(counts)
        }
    }

    deserializer.deserialize_map(Few::<N>)
}
