//! Dates of the Gregorian calendar in UTC.

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// Days since the first of January 1970.
    days: i64,
}

impl Date {
    /// The day of a time in seconds since 1970.
    pub(crate) fn of_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        // Years begin in March here: the day that leap years have more is the last one. 400 years are 146097 days.
        let since_march_0 = i128::from(days) + 719_468;
        let era = since_march_0.div_euclid(146_097);
        let of_era = since_march_0.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i128::from(month <= 2);
        let narrow = |number: i128| i64::try_from(number).unwrap_or(i64::MAX);
        Self { year: narrow(year), month: narrow(month), day: narrow(day), days }
    }

    fn is_leap_year(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    fn lengths_of_months(self) -> [i64; 12] {
        [31, if self.is_leap_year() { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    }

    /// From 1.
    pub(crate) fn day_of_year(self) -> i64 {
        self.lengths_of_months().iter().zip(1..self.month).map(|(length, _)| length).sum::<i64>() + self.day
    }

    /// From 0, which is Sunday.
    pub(crate) fn day_of_week(self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    /// How many days the month has.
    pub(crate) fn days_in_month(self) -> i64 {
        self.lengths_of_months()[usize::try_from(self.month - 1).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
        let date = Date::of_seconds(seconds);
        (date.year, date.month, date.day, date.day_of_week(), date.day_of_year(), date.days_in_month())
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1, 4, 1, 31));
        assert_eq!(date(-1), (1969, 12, 31, 3, 365, 31));
        assert_eq!(date(951_782_400), (2000, 2, 29, 2, 60, 29));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 1, 60, 31));
        assert_eq!(date(1_800_000_000), (2027, 1, 15, 5, 15, 31));
    }
}
