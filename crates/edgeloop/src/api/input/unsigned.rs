//! Integers as they stand in the input.

mod sealed {
    /// Implemented here only.
    pub trait Sealed: Sized {
        fn from_be(bytes: &[u8]) -> Option<Self>;
        fn from_le(bytes: &[u8]) -> Option<Self>;
    }
}

use sealed::Sealed;

/// An integer that an [`Input`](crate::Input) can hold: `u8`, `u16`, `u32` or `u64`.
///
/// Signed integers are the same bytes: `input.take_be::<u32>().map(u32::cast_signed)`.
pub trait Unsigned: Copy + Into<u64> + Sealed {}

macro_rules! unsigned {
    ($($number:ty)*) => {
        $(
            impl Unsigned for $number {}

            impl Sealed for $number {
                #[inline]
                fn from_be(bytes: &[u8]) -> Option<Self> {
                    bytes.try_into().ok().map(Self::from_be_bytes)
                }

                #[inline]
                fn from_le(bytes: &[u8]) -> Option<Self> {
                    bytes.try_into().ok().map(Self::from_le_bytes)
                }
            }
        )*
    };
}

unsigned! { u8 u16 u32 u64 }
