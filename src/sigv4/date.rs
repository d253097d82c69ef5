//! The basic ISO 8601 date of a signature, `20261121T081042Z`, and its place on the time line.

const LENGTH: usize = 16;
const SECONDS_A_DAY: i64 = 86_400;

/// A checked date: every field in range, the day existing in its month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmzDate {
    text: [u8; LENGTH],
    unix_seconds: i64,
}

impl AmzDate {
    /// Reads exactly `YYYYMMDDTHHMMSSZ`.
    pub fn parse(text: &str) -> Option<Self> {
        let text: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        if text[8] != b'T' || text[15] != b'Z' {
            return None;
        }
        let days = days_of(&text[..8])?;
        let (hour, minute, second) = (
            number(&text[9..11])?,
            number(&text[11..13])?,
            number(&text[13..15])?,
        );
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let unix_seconds = days * SECONDS_A_DAY + hour * 3_600 + minute * 60 + second;
        Some(Self { text, unix_seconds })
    }

    /// The date of a moment between the years 0 and 9999; `None` outside of them.
    pub fn from_unix(unix_seconds: i64) -> Option<Self> {
        let (year, month, day) = civil_of(unix_seconds.div_euclid(SECONDS_A_DAY));
        let second = unix_seconds.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        Self::parse(&format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"
        ))
    }

    /// The text as it stands in the string to sign.
    pub fn as_str(&self) -> &str {
        // `parse` took ASCII only; the default is never seen.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The first eight digits, as they stand in the credential scope.
    pub fn day(&self) -> &str {
        self.as_str().get(..8).unwrap_or_default()
    }

    /// Seconds since 1970, negative before.
    pub fn unix_seconds(&self) -> i64 {
        self.unix_seconds
    }
}

/// Whether eight digits name a day that exists.
pub(super) fn is_day(text: &str) -> bool {
    text.len() == 8 && days_of(text.as_bytes()).is_some()
}

fn days_of(text: &[u8]) -> Option<i64> {
    let (year, month, day) = (
        number(&text[..4])?,
        number(&text[4..6])?,
        number(&text[6..])?,
    );
    let days = days_from_civil(year, month, day);
    (civil_of(days) == (year, month, day)).then_some(days)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that the
/// leap day is the last of its year. <https://howardhinnant.github.io/date_algorithms.html>
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_read_and_written() {
        for (text, unix_seconds) in [
            ("19700101T000000Z", 0),
            ("20000229T235959Z", 951_868_799),
            ("20130524T000000Z", 1_369_353_600),
            ("20261121T081042Z", 1_795_248_642),
        ] {
            let date = AmzDate::parse(text).unwrap();
            assert_eq!(date.unix_seconds(), unix_seconds, "{text}");
            assert_eq!(AmzDate::from_unix(unix_seconds), Some(date));
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for days in -200_000..200_000 {
            let date = AmzDate::from_unix(days * SECONDS_A_DAY).unwrap();
            assert_eq!(date.unix_seconds(), days * SECONDS_A_DAY);
        }
    }

    #[test]
    fn what_is_not_a_date_is_refused() {
        for text in [
            "",
            "20261121",
            "20261121T081042",
            "20261121T081042z",
            "20261121t081042Z",
            "20261121T081042Z ",
            "20261321T081042Z",
            "20260229T081042Z",
            "20261100T081042Z",
            "20261121T241042Z",
            "20261121T086042Z",
            "20261121T081060Z",
            "+2261121T081042Z",
            "2026112üT81042Z",
        ] {
            assert_eq!(AmzDate::parse(text), None, "{text}");
        }
    }
}
