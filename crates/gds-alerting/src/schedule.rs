//! When something is muted: once, by the clock of a place, or by a cron pattern.

use std::str::FromStr;

use croner::Cron;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::duration::{self, Millis};

/// A set of times.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// From a time until another, in milliseconds since 1970, the end not within.
    Once {
        /// The first moment.
        starts_ms: i64,
        /// The first moment after.
        ends_ms: i64,
    },
    /// `22:00-07:00` by the clock of a place: across midnight, and right when clocks change.
    Daily {
        /// From this time of the day.
        from: Time,
        /// Until this one, of the next day if it is not later.
        until: Time,
        /// The days on which it begins; all where there is none.
        weekdays: Vec<Weekday>,
        /// Whose clock.
        zone: TimeZone,
    },
    /// From each time of a pattern on, for a while.
    Cron {
        /// When it begins.
        cron: Box<Cron>,
        /// For how long.
        duration: Millis,
        /// Whose clock.
        zone: TimeZone,
    },
}

impl Schedule {
    /// Reads `22:00-07:00`; 24:00 is the end of the day.
    pub fn daily(text: &str, weekdays: &[&str], zone: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is no range of times; expected a form such as 22:00-07:00");
        let (from, until) = text.split_once('-').ok_or_else(form)?;
        let time = |text: &str| -> Option<Time> {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
            if (hour, minute) == (24, 0) { Some(Time::midnight()) } else { Time::new(hour, minute, 0, 0).ok() }
        };
        let (Some(from), Some(until)) = (time(from), time(until)) else { return Err(form()) };
        let weekdays = weekdays.iter().map(|day| weekday(day)).collect::<Result<_, _>>()?;
        Ok(Self::Daily { from, until, weekdays, zone: self::zone(zone)? })
    }

    /// Reads a cron pattern of five fields; it lasts `duration` each time.
    pub fn cron(pattern: &str, duration: Millis, zone: &str) -> Result<Self, String> {
        let cron = Cron::from_str(pattern)
            .map_err(|error| format!("{pattern:?} is no cron pattern: {}", error.to_string().to_lowercase()))?;
        if duration <= 0 {
            return Err(format!("duration {} of a window; expected a longer one", duration::text(duration)));
        }
        Ok(Self::Cron { cron: Box::new(cron), duration, zone: self::zone(zone)? })
    }

    /// Whether a time is within.
    pub fn contains(&self, now_ms: i64) -> bool {
        match self {
            Self::Once { starts_ms, ends_ms } => (*starts_ms..*ends_ms).contains(&now_ms),
            Self::Daily { from, until, weekdays, zone } => {
                let Some(local) = local(now_ms, zone) else { return false };
                let (time, today) = (local.time(), local.weekday());
                let on = |day: Weekday| weekdays.is_empty() || weekdays.contains(&day);
                if from < until {
                    return on(today) && *from <= time && time < *until;
                }
                on(today) && *from <= time || on(today.previous()) && time < *until
            }
            Self::Cron { cron, duration, zone } => {
                let Some(local) = local(now_ms, zone) else { return false };
                cron.find_previous_occurrence(&local, true)
                    .is_ok_and(|begun| now_ms < begun.timestamp().as_millisecond().saturating_add(*duration))
            }
        }
    }
}

fn local(now_ms: i64, zone: &TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone.clone()))
}

/// Reads the name of an IANA time zone.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    // The zones that are built in, and no others: a replay elsewhere has the same.
    jiff::tz::TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("{name:?} is no time zone; expected an IANA name such as Europe/Berlin"))
}

fn weekday(name: &str) -> Result<Weekday, String> {
    let days = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let name = name.to_lowercase();
    days.iter()
        .find(|(day, _)| *day == name || name.len() == 3 && day.starts_with(&name))
        .map(|(_, day)| *day)
        .ok_or_else(|| format!("{name:?} is no day of the week; expected one such as monday or mon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_millisecond()
    }

    #[test]
    fn a_night_goes_across_midnight_and_changes_of_the_clock() {
        let night = Schedule::daily("22:00-07:00", &[], "Europe/Berlin").expect("a schedule");
        for (time, muted) in [
            ("2026-03-29T01:30:00Z", true),
            ("2026-03-29T05:01:00Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T06:00:00Z", false),
            ("2026-01-10T20:59:59Z", false),
            ("2026-01-10T21:00:00Z", true),
        ] {
            assert_eq!(night.contains(at(time)), muted, "{time}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let friday = Schedule::daily("22:00-07:00", &["fri"], "UTC").expect("a schedule");
        for (time, muted) in [
            ("2026-11-27T23:00:00Z", true),
            ("2026-11-28T06:59:00Z", true),
            ("2026-11-28T22:30:00Z", false),
            ("2026-11-27T06:00:00Z", false),
        ] {
            assert_eq!(friday.contains(at(time)), muted, "{time}");
        }
        assert!(Schedule::daily("00:00-24:00", &[], "UTC").expect("a schedule").contains(at("2026-11-27T23:59:59Z")));
    }

    #[test]
    fn a_cron_window_lasts_from_each_of_its_times() {
        let window = Schedule::cron("0 2 * * SUN", 3_600_000, "Europe/Berlin").expect("a schedule");
        for (time, muted) in [
            ("2026-11-29T01:00:00Z", true),
            ("2026-11-29T01:59:59Z", true),
            ("2026-11-29T02:00:00Z", false),
            ("2026-11-29T00:59:59Z", false),
            ("2026-11-28T01:30:00Z", false),
        ] {
            assert_eq!(window.contains(at(time)), muted, "{time}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (refused, said) in [
            (Schedule::daily("22-7", &[], "UTC"), "22:00-07:00"),
            (Schedule::daily("22:00-25:00", &[], "UTC"), "range of times"),
            (Schedule::daily("22:00-07:00", &["someday"], "UTC"), "day of the week"),
            (Schedule::daily("22:00-07:00", &[], "Europe/Nowhere"), "IANA name"),
            (Schedule::cron("* * *", 1, "UTC"), "no cron pattern"),
            (Schedule::cron("* * * * *", 0, "UTC"), "expected a longer one"),
        ] {
            assert!(refused.expect_err(said).contains(said));
        }
    }
}
