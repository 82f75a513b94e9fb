//! Reads workloads from files, from standard input and from generators, and joins them.

use std::io;
use std::path::{Path, PathBuf};

use super::ehos_history::{self, Ticks};
use super::input::Source;
use super::known::Known;
use super::{
    Builder, Format, Notes, Workload, WorkloadError, condor_json, condor_long, csv, event_log,
    format, generator, swf,
};

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The format of the inputs; `None`: recognized by the contents of each.
    pub format: Option<Format>,
    /// Whether a parallel job of the Standard Workload Format becomes single-core jobs.
    pub split: bool,
    /// The seed of generators.
    pub seed: u64,
}

/// The epoch of the times of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calendar {
    /// Seconds since 1970.
    Unix,
    /// Seconds since some moment.
    None,
}

/// Reads files and generators (see [`is_generator`](super::is_generator)), and joins them. `-` is standard input.
///
/// Memory grows with the number of jobs, not with the size of the files.
///
/// # Errors
/// Inputs that cannot be read, or that have no job. Records that cannot be used are counted in [`Notes`].
pub fn read(inputs: &[PathBuf], options: &ReadOptions) -> Result<Workload, WorkloadError> {
    let mut joined = Joined::default();
    for (number, input) in inputs.iter().enumerate() {
        joined.read(input, number as u64, options)?;
    }
    joined.build()
}

/// Reads one stream.
///
/// # Errors
/// As [`read`].
pub fn read_from(
    place: &str,
    reader: impl io::Read,
    options: &ReadOptions,
) -> Result<Workload, WorkloadError> {
    let mut joined = Joined::default();
    joined.read_source(Source::new(place, reader), options)?;
    joined.build()
}

/// The inputs that were read so far.
#[derive(Default)]
struct Joined {
    builder: Builder,
    known: Known,
    ticks: Ticks,
    places: Vec<String>,
    calendar: Option<Calendar>,
}

impl Joined {
    fn read(
        &mut self,
        input: &Path,
        number: u64,
        options: &ReadOptions,
    ) -> Result<(), WorkloadError> {
        match input.to_str().filter(|text| generator::is_generator(text)) {
            Some(text) if !input.exists() => {
                // Two equal generators are two workloads.
                let seed = options.seed.wrapping_add(number);
                generator::generate(text, seed, &mut self.builder)?;
                self.join(text.to_owned(), Some(Calendar::None))
            }
            _ => self.read_source(Source::open(input)?, options),
        }
    }

    fn read_source(
        &mut self,
        mut source: Source,
        options: &ReadOptions,
    ) -> Result<(), WorkloadError> {
        let sample = source.sample()?;
        let place = source.place.clone();
        if sample.trim_ascii().is_empty() {
            self.builder.notes.count("empty file", || place.clone());
            return self.join(place, None);
        }
        let format = match options.format {
            Some(format) => format,
            None => format::recognize(&place, &sample)?,
        };
        let builder = &mut self.builder;
        let jobs = builder.len();
        let calendar = match format {
            Format::CondorJson => condor_json::read(&mut source, &mut self.known, builder)?,
            Format::CondorLong => condor_long::read(&mut source, &mut self.known, builder)?,
            Format::EventLog => event_log::read(&mut source, &sample, &mut self.known, builder)?,
            Format::EhosHistory => ehos_history::read(&mut source, &mut self.ticks, builder)?,
            Format::Swf => swf::read(&mut source, options, builder)?,
            Format::Csv => csv::read(&mut source, builder)?,
        };
        // The jobs of ticks are known at the end only.
        let has_jobs = self.builder.len() > jobs || format == Format::EhosHistory;
        self.join(place, calendar.filter(|_| has_jobs))
    }

    fn join(&mut self, place: String, calendar: Option<Calendar>) -> Result<(), WorkloadError> {
        match (self.calendar, calendar) {
            (Some(before), Some(now)) if before != now => {
                return Err(WorkloadError::Calendar {
                    place,
                    other: self.places.join(", "),
                });
            }
            _ => self.calendar = self.calendar.or(calendar),
        }
        self.places.push(place);
        Ok(())
    }

    fn build(mut self) -> Result<Workload, WorkloadError> {
        self.ticks.finish(&mut self.builder);
        let workload = self.builder.build(self.calendar == Some(Calendar::Unix));
        match workload.jobs.is_empty() {
            false => Ok(workload),
            true => Err(WorkloadError::NoJobs {
                place: self.places.join(", "),
                cause: cause(&workload.notes),
                remedy: "name a file with jobs, or a generator such as poisson:rate=30/h,days=7",
            }),
        }
    }
}

/// Why there is no job, in words.
fn cause(notes: &Notes) -> String {
    if notes.counts.is_empty() {
        return format!("{} records", notes.records);
    }
    let count = |(what, count): (&String, &super::Count)| {
        format!("{what} ({}, the first: {})", count.records, count.example)
    };
    let counts: Vec<String> = notes.counts.iter().map(count).collect();
    counts.join("; ")
}
