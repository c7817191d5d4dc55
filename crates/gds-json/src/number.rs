//! Numbers, as few digits as say them.

/// Appends an integer.
pub fn write_integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a finite number.
pub fn write_float(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
}

/// Appends an integer, and a comma.
#[inline]
pub fn write_integer_item(out: &mut Vec<u8>, number: impl itoa::Integer) {
    crate::text::write_plain(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a finite number, and a comma.
#[inline]
pub fn write_float_item(out: &mut Vec<u8>, number: f64) {
    crate::text::write_plain(out, zmij::Buffer::new().format_finite(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("digits")
    }

    proptest! {
        #[test]
        fn every_float_is_read_back(number in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
            let text = written(|out| write_float(out, number));
            let back: f64 = text.parse().expect("a number");
            prop_assert_eq!(back.to_bits(), number.to_bits());
            prop_assert_eq!(written(|out| write_float_item(out, number)), text + ",");
        }

        #[test]
        fn every_integer_is_read_back(number: i64) {
            let text = written(|out| write_integer(out, number));
            prop_assert_eq!(text.parse(), Ok(number));
            prop_assert_eq!(written(|out| write_integer_item(out, number)), text + ",");
        }
    }
}
