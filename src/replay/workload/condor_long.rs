//! Reads job ads as text: the history file of a schedd, and `condor_history -long`.
//!
//! An ad of the history file ends with a banner (`*** Offset = 0 ClusterId = 1 …`), one of `condor_history -long` with an empty
//! line. Source: HTCondor 23.9.6; manual, condor_history(1).

use super::ad::{Ad, Attribute, CUT_OFF, Value};
use super::input::{Line, Source};
use super::known::Known;
use super::read::Calendar;
use super::{Builder, WorkloadError};

pub(super) fn read(
    source: &mut Source,
    known: &mut Known,
    builder: &mut Builder,
) -> Result<Option<Calendar>, WorkloadError> {
    let place = source.place.clone();
    let mut ad = Ad::default();
    let mut has_banners = false;
    while let Some((number, line)) = source.next_line()? {
        let example = || format!("{place}:{number}");
        let text = match line {
            Line::Text(text) => text,
            Line::TooLong => {
                let what = "an attribute of more than 1 MiB in an ad: ignored";
                builder.notes.count(what, example);
                continue;
            }
        };
        let banner = text.strip_prefix(b"***");
        has_banners |= banner.is_some();
        if banner.is_some() || text.trim_ascii().is_empty() {
            let ad = std::mem::take(&mut ad);
            if ad.is_empty() {
                continue;
            }
            match banner.map(<[u8]>::trim_ascii_start) {
                // Each start of a job and each transfer of files has an ad of its own in the history of epochs.
                Some(banner) if !banner.starts_with(b"Offset") => {
                    let what = "ad of one run or transfer (epoch history): left out";
                    builder.notes.lose(what, example);
                }
                _ => ad.add(known, builder, example),
            }
            continue;
        }
        let Some((name, value)) = attribute(text) else {
            let what = "a line of an ad without attribute: ignored";
            builder.notes.count(what, example);
            continue;
        };
        let Some(attribute) = Attribute::named(name) else {
            ad.pass();
            continue;
        };
        if attribute == Attribute::ClusterId && ad.has(attribute) {
            let what = "two ads without a banner between them: attributes may be missing";
            builder.notes.count(what, example);
            std::mem::take(&mut ad).add(known, builder, example);
        }
        ad.set(attribute, value_of(value));
    }
    if !ad.is_empty() {
        match has_banners || !source.is_line_whole() {
            true => builder.notes.lose(CUT_OFF, || place.clone()),
            false => ad.add(known, builder, || place.clone()),
        }
    }
    Ok(Some(Calendar::Unix))
}

/// The name and the value of `RequestCpus = 1`.
pub(super) fn attribute(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'=', line)?;
    let (name, value) = line.split_at_checked(end)?;
    let name = name.trim_ascii();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let is_name = !name.is_empty() && name.iter().all(is_letter);
    is_name.then_some((name, value.get(1..)?.trim_ascii()))
}

/// The value of a text. None if it is undefined.
pub(super) fn value_of(text: &[u8]) -> Option<Value> {
    if text.eq_ignore_ascii_case(b"undefined") || text.is_empty() {
        return None;
    }
    let expression = || Value::Expression(String::from_utf8_lossy(text).into_owned());
    let Some(rest) = text.strip_prefix(b"\"") else {
        // `inf` and `nan` are names here.
        let is_number = text
            .first()
            .is_some_and(|c| c.is_ascii_digit() || b"+-.".contains(c));
        let number = std::str::from_utf8(text).ok().filter(|_| is_number);
        let number = number.and_then(|text| text.parse().ok());
        return Some(number.map_or_else(expression, Value::Number));
    };
    let Some(inner) = rest.strip_suffix(b"\"") else {
        return Some(expression());
    };
    let inner = String::from_utf8_lossy(inner);
    // `"a" + "b"` is an expression.
    let plain = inner.replace("\\\"", "");
    match plain.contains('"') {
        true => Some(expression()),
        false => Some(Value::Text(
            inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        )),
    }
}
