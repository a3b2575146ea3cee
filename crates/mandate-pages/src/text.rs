//! Texts with values in them, as HTML: what is put in is escaped and kept apart from the text around it, so that a name
//! cannot change how a sentence reads. Times are written for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, PreEscaped, html};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::texts::Words;

/// A text with the values of its placeholders. A name may be written from right to left; `bdi` keeps that inside.
pub fn fill_html(text: &str, values: &[(&str, &str)]) -> Markup {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(&escaped(before));
        let value = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        if let Some((value, after)) = value {
            filled.push_str(&html! { bdi { (value) } }.into_string());
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(&escaped(rest));
    PreEscaped(filled)
}

fn escaped(text: &str) -> String {
    html! { (text) }.into_string()
}

/// A time, in seconds since 1970, as people write it.
pub fn time_text(seconds: i64, words: &Words) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return String::new() };
    let time = time.to_zoned(TimeZone::UTC);
    let month = usize::try_from(time.month() - 1).ok().and_then(|month| words.months.get(month));
    let (day, year, hour, minute) = (time.day(), time.year(), time.hour(), time.minute());
    format!("{day}{} {} {year}, {hour:02}:{minute:02} UTC", words.after_day, month.unwrap_or(&""))
}

/// A time, for people and programs.
pub fn time_html(seconds: i64, words: &Words) -> Markup {
    let exact = Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
    html! { time datetime=(exact) { (time_text(seconds, words)) } }
}

/// The value of a parameter in a query.
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(found, _)| *found == name)?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8().ok()?.into_owned())
}

/// A text as a part of a path or a query.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;
    use crate::words::words;

    #[test]
    fn values_are_escaped_and_kept_apart() {
        let filled = fill_html("<{a}> & {b} {", &[("a", "<i>{b}"), ("c", "x")]).into_string();
        assert_eq!(filled, "&lt;<bdi>&lt;i&gt;{b}</bdi>&gt; &amp; {b} {");
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(time_text(1_795_860_900, words(Language::En)), "28 November 2026, 10:15 UTC");
        assert_eq!(time_text(1_795_860_900, words(Language::De)), "28. November 2026, 10:15 UTC");
        assert_eq!(time_text(0, words(Language::De)), "1. Januar 1970, 00:00 UTC");
    }
}
