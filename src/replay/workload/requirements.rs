//! Names what the Requirements of a job ask for besides the size of a node, which is all that a replay checks.
//!
//! Owns: the attributes that `condor_submit` appends by itself. Must not: evaluate an expression; only HTCondor does.
//! Source: HTCondor manual, condor_submit(1), `requirements`; the expressions of HTCondor 23.9.

/// What `condor_submit` appends, and what every node of ehos has or is sized by.
const OF_SIZE: &[&str] = &[
    "Arch",
    "OpSys",
    "Cpus",
    "Memory",
    "Disk",
    "GPUs",
    "FileSystemDomain",
    "HasFileTransfer",
];

/// `Arch` and `OpSys` of nodes of ehos.
const OF_NODES: &[&str] = &["X86_64", "LINUX"];

/// Words of the language.
const KEYWORDS: &[&str] = &["true", "false", "undefined", "error", "is", "isnt"];

fn is_in(list: &[&str], word: &str) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(word))
}

/// The first attribute of the node that the expression names besides those of its size.
pub(super) fn beyond_size(expression: &str) -> Option<&str> {
    let mut rest = expression;
    let mut platform = None;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let text = rest.get(1..)?;
            let (inner, after) = text.split_once('"').unwrap_or((text, ""));
            // Another platform than that of the nodes.
            if let Some(attribute) = platform.take()
                && !is_in(OF_NODES, inner)
            {
                return Some(attribute);
            }
            rest = after;
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            rest = rest.get(first.len_utf8()..)?;
            continue;
        }
        let (word, after) = rest.split_at_checked(end)?;
        rest = after;
        let is_function = after.trim_start().starts_with('(');
        let (scope, name) = word.rsplit_once('.').unwrap_or(("", word));
        let is_own = scope.eq_ignore_ascii_case("MY")
            || name.len() > 7 && is_in(&["Request"], name.get(..7)?);
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if is_function && scope.is_empty()
            || is_own
            || is_number
            || is_in(KEYWORDS, word)
            || name.is_empty()
        {
            continue;
        }
        match is_in(OF_SIZE, name) {
            true if is_in(&["Arch", "OpSys"], name) => platform = Some(name),
            true => {}
            false => return Some(name),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_condor_submit_appends_is_of_size_and_all_else_is_named() {
        for (expression, named) in [
            (
                "(TARGET.Arch == \"X86_64\") && (TARGET.OpSys == \"LINUX\") && (TARGET.Disk >= RequestDisk) && \
                 (TARGET.Memory >= RequestMemory) && (TARGET.Cpus >= RequestCpus) && ((TARGET.FileSystemDomain == \
                 MY.FileSystemDomain) || (TARGET.HasFileTransfer))",
                None,
            ),
            ("(TARGET.Arch == \"aarch64\")", Some("Arch")),
            (
                "OpSysAndVer == \"AlmaLinux9\" && TARGET.Memory > 1.5e3",
                Some("OpSysAndVer"),
            ),
            ("regexp(\"^node\", TARGET.Machine)", Some("Machine")),
            (
                "MY.Rank > 3 && true && ifThenElse(isUndefined(x.y), 1, 2)",
                Some("y"),
            ),
            ("TARGET.Memory >= 2 && \"an open string", None),
            ("", None),
            ("TARGET.", None),
            ("\u{e9}\u{202e}==\"", Some("\u{e9}")),
        ] {
            assert_eq!(beyond_size(expression), named, "{expression}");
        }
    }
}
