//! Packs histograms for a file in the encoding that other tools read, and unpacks those of a file
//! without trusting what they say of their own size.

use std::io::Read as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::times::{DIGITS, LONGEST};

/// The longest text of a histogram, and the most bytes that it unpacks to. One of `bench` has
/// 33,792 counts of nine bytes at the most.
const LONGEST_TEXT: usize = 1 << 20;
const LARGEST: u64 = 512 * 1024;

/// How the two formats of the family begin, packed and unpacked.
const PACKED: u32 = 0x1c84_9314;
const PLAIN: u32 = 0x1c84_9313;

/// Before the counts: a cookie, their length, an offset, the significant figures, the lowest value,
/// the highest one and a ratio.
const HEADER: usize = 40;

/// Packs a histogram: a V2 log, deflated and in Base64.
pub(crate) fn pack(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing into memory can't fail.
    let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    STANDARD.encode(bytes)
}

/// Unpacks a histogram of the times of a run.
///
/// # Errors
///
/// When it is none, or one that no run has.
pub(crate) fn unpack(text: &str) -> Result<Histogram<u64>, String> {
    if text.len() > LONGEST_TEXT {
        return Err(format!("{} characters; the maximum is {LONGEST_TEXT}", text.len()));
    }
    let packed = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let is_packed = word(&packed, 0) == Some(PACKED);
    let Some(packed) = packed.get(8..).filter(|_| is_packed) else {
        return Err("it is not in the format V2 compressed".to_owned());
    };
    let mut plain = Vec::new();
    let read = ZlibDecoder::new(packed).take(LARGEST + 1).read_to_end(&mut plain);
    read.map_err(|error| error.to_string())?;
    if plain.len() as u64 > LARGEST {
        return Err(format!("it unpacks to more than {LARGEST} bytes"));
    }
    check(&plain)?;
    Deserializer::new().deserialize(&mut &plain[..]).map_err(|error| error.to_string())
}

/// The word of four bytes at a place.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Sees that the header claims no more than there is.
fn check(plain: &[u8]) -> Result<(), String> {
    let long = |at| Some(u64::from(word(plain, at)?) << 32 | u64::from(word(plain, at + 4)?));
    let header =
        || Some((word(plain, 0)?, word(plain, 4)?, word(plain, 12)?, long(16)?, long(24)?));
    let Some((PLAIN, counts, digits, lowest, highest)) = header() else {
        return Err("it has no header".to_owned());
    };
    if plain.len().checked_sub(HEADER) != usize::try_from(counts).ok() {
        let has = plain.len().saturating_sub(HEADER);
        return Err(format!("it claims {counts} bytes of counts and has {has}"));
    }
    if digits != u32::from(DIGITS) || lowest != 1 || highest != LONGEST {
        return Err(format!(
            "it is from {lowest} to {highest} ns with {digits} figures, and not from 1 to {LONGEST} \
             with {DIGITS}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use hdrhistogram::serialization::V2Serializer;

    use super::*;

    fn packed(plain: &[u8]) -> String {
        let mut bytes = [PACKED.to_be_bytes(), [0xff; 4]].concat();
        let mut encoder = ZlibEncoder::new(&mut bytes, Compression::fast());
        encoder.write_all(plain).and_then(|()| encoder.try_finish()).expect("packed");
        drop(encoder);
        STANDARD.encode(bytes)
    }

    fn histogram(highest: u64, digits: u8) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, highest, digits).expect("bounds");
        histogram.record_n(2, 7).expect("recorded");
        histogram
    }

    fn plain(highest: u64, digits: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram(highest, digits), &mut bytes).expect("written");
        bytes
    }

    #[track_caller]
    fn expect_fault(text: &str, words: &str) {
        let fault = unpack(text).expect_err("something is wrong with it");
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn a_histogram_of_a_run_is_unpacked() {
        let read = unpack(&pack(&histogram(LONGEST, 3))).expect("a histogram");
        assert_eq!((read.len(), read.max()), (7, 2));
        assert_eq!(unpack(&packed(&plain(LONGEST, 3))).expect("a histogram").len(), 7);
    }

    #[test]
    fn one_that_claims_more_than_a_run_has_is_refused_before_it_takes_memory() {
        expect_fault(&packed(&plain(u64::MAX, 3)), "from 1 to 18446744073709551615 ns");
        expect_fault(&packed(&plain(LONGEST, 5)), "with 5 figures");
        let mut long = plain(LONGEST, 3);
        long[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        expect_fault(&packed(&long), "claims 4294967295 bytes of counts");
        // A gigabyte of zeros in a megabyte.
        expect_fault(&packed(&vec![0; 16 << 20]), "more than 524288 bytes");
        expect_fault(&"A".repeat(2 << 20), "2097152 characters");
        expect_fault(&packed(&[]), "no header");
        expect_fault(&packed(&long[..20]), "no header");
        expect_fault(&STANDARD.encode(&long), "V2 compressed");
        expect_fault("", "V2 compressed");
        expect_fault("?", "symbol");
    }

    #[test]
    fn cut_off_anywhere_it_is_refused() {
        let whole = packed(&plain(LONGEST, 3));
        let whole = STANDARD.decode(whole).expect("Base64");
        for length in 0..whole.len() - 8 {
            assert!(unpack(&STANDARD.encode(&whole[..length])).is_err(), "{length}");
        }
    }
}
