//! Sums that keep what rounding takes away.

/// A sum and what was lost of it, after Kahan and Neumaier.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    /// The sum as far as an `f64` holds it.
    pub(crate) sum: f64,
    /// What has to be added to it.
    pub(crate) lost: f64,
}

impl Sum {
    /// Adds a number.
    pub(crate) fn add(&mut self, number: f64) {
        (self.sum, self.lost) = add(number, self.sum, self.lost);
    }

    /// Sum and what was lost, together.
    pub(crate) fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// The sum and what is lost of it after one more number. Of an infinite sum nothing is lost.
pub(crate) fn add(number: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + number;
    if total.is_infinite() {
        (total, 0.0)
    } else if sum.abs() >= number.abs() {
        (total, lost + ((sum - total) + number))
    } else {
        (total, lost + ((number - total) + sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_beside_a_great_one_are_not_lost() {
        let mut sum = Sum::default();
        for number in [1e100, 1.0, -1e100, 1.0] {
            sum.add(number);
        }
        assert_eq!(sum.total().to_bits(), 2f64.to_bits());
    }

    #[test]
    fn an_infinite_sum_stays_infinite() {
        let mut sum = Sum::default();
        for number in [f64::MAX, f64::MAX, 1.0] {
            sum.add(number);
        }
        assert_eq!(sum.total().to_bits(), f64::INFINITY.to_bits());
    }
}
