//! Jobs that a schedd may be asked about by their attributes.
//!
//! A schedd that groups jobs or sends single attributes follows every reference of these attributes, each time that it
//! stands there: `B1 = B0 + B0`, …, `B33 = B32 + B32` keep it busy for hours, in the daemon itself. A constraint is evaluated
//! there as well. So attributes of users' own stand in a constraint only as `unparse(X)`, which evaluates and follows
//! nothing, and only *plain* jobs are asked for by attributes: all attributes that can be reached are literals or one of the few
//! expressions that condor_submit writes. All other jobs are `odd` ([`super::odd`]).
//!
//! Source: HTCondor 23.9.6, `JobCluster::getClusterid`, `putClassAd` and `ClassAd::_GetInternalReferences`.

use std::collections::BTreeSet;

use ads::answer::quoted;
use scaling::sorting::IntoSet;

/// Attributes whose texts are known not to refer to much. Source: HTCondor manual, JOB_DEFAULT_REQUESTMEMORY and
/// JOB_DEFAULT_REQUESTDISK; as 23.9.6 writes them.
const FORMS: [(&str, &[&str]); 3] = [
    (
        "RequestMemory",
        &[
            "ifthenelse(MemoryUsage isnt undefined,MemoryUsage,(ImageSize + 1023) / 1024)",
            "ifthenelse(MemoryUsage =!= undefined,MemoryUsage,(ImageSize + 1023) / 1024)",
        ],
    ),
    ("RequestDisk", &["DiskUsage"]),
    ("MemoryUsage", &["((ResidentSetSize + 1023) / 1024)"]),
];

/// What these forms refer to, and names by which a user's attribute would stand in for a whole ad.
const REACHED: [&str; 6] = [
    "MemoryUsage",
    "ImageSize",
    "DiskUsage",
    "ResidentSetSize",
    "MY",
    "TARGET",
];

/// Literals of numbers, of strings and of truth, in any order: no name of an attribute is among them. Backslashes of the pattern
/// are single ones, as strings of old ClassAds have them.
const LITERALS: &str = r"[0-9][\w.]*+|[^\w\x22\x27]|\x22(?>[^\x22\x5c]+|\x5c.)*+\x22";
/// The schedd matches no longer text.
const TEXT_MAX: usize = 60_000;
/// Longest Requirements of plain jobs.
pub(super) const REQUIREMENTS_MAX: usize = 4096;

/// An expression that is true when all these attributes are literals (or absent), false or an error otherwise.
pub(super) fn literals<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = names.map(text).collect();
    format!(
        "regexp(\"^(?=.{{0,{TEXT_MAX}}}$)(?>{LITERALS}|(?:true|false|undefined|error)(?!\\w))*+$\", strcat({}), \"is\")",
        texts.join(", \"|\", ")
    )
}

/// The text of an attribute; nothing where it is one of the known forms.
fn text(name: &str) -> String {
    let unparsed = format!("unparse({name})");
    let same = |(known, _): &&(&str, &[&str])| name.eq_ignore_ascii_case(known);
    match FORMS.iter().find(same) {
        None => unparsed,
        Some((_, forms)) => {
            let is: Vec<String> = forms
                .iter()
                .map(|form| format!("{unparsed} == {}", quoted(form)))
                .collect();
            format!("ifThenElse({}, \"\", {unparsed})", is.join(" || "))
        }
    }
}

/// An expression that is true for plain jobs alone: all these attributes are literals, and Requirements name no others.
pub(super) fn plain(names: &[String], requirements: bool) -> String {
    let names: BTreeSet<String> = names
        .iter()
        .map(String::as_str)
        .chain(REACHED)
        .map(str::to_ascii_lowercase)
        .filter(|name| !matches!(&**name, "jobstatus" | "jobuniverse" | "requirements"))
        .into_set();
    let mut plain = literals(names.iter().map(String::as_str));
    if requirements {
        let known: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !matches!(*name, "my" | "target"))
            .collect();
        plain.push_str(&format!(
            " && size(unparse(Requirements)) <= {REQUIREMENTS_MAX} && regexp(\"^(?>{LITERALS}|target\\.\\w++|\
             (?:my\\.)?(?:true|false|undefined|error|isnt|is|jobstatus|jobuniverse|clusterid|procid|{})(?![\\w.])|\\w++(?=\\())*+$\", \
             unparse(Requirements), \"is\")",
            known.join("|")
        ));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attribute_of_a_user_is_evaluated() {
        let names = ["RequestCpus", "Requirements", "wanted"].map(str::to_owned);
        let plain = plain(&names, true);
        for name in ["requestcpus", "wanted", "memoryusage", "target", "my"] {
            assert!(plain.contains(&format!("unparse({name})")), "{plain}");
        }
        // Outside of strings and unparse there are names of functions alone.
        let mut rest = plain.clone();
        while let Some(at) = rest.find("unparse(") {
            let end = rest[at..].find(')').unwrap();
            rest.replace_range(at..=at + end, "0");
        }
        let names = ads::expression::references(&rest);
        assert_eq!(names, Vec::<String>::new(), "{rest}");
    }
}
