//! A problem and its remedy: two fields where a program reads them, one line with `; ` where a person does.

use std::fmt;

/// A problem and, where there is one, its remedy: an imperative with the key, flag or command in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    pub problem: String,
    pub remedy: Option<String>,
}

impl Advice {
    /// The same with `place` before the problem.
    pub fn at(self, place: impl fmt::Display) -> Advice {
        Advice {
            problem: format!("{place}: {}", self.problem),
            ..self
        }
    }
}

impl<P: Into<String>, R: Into<String>> From<(P, R)> for Advice {
    fn from((problem, remedy): (P, R)) -> Advice {
        Advice {
            problem: problem.into(),
            remedy: Some(remedy.into()),
        }
    }
}

impl From<String> for Advice {
    fn from(problem: String) -> Advice {
        Advice {
            problem,
            remedy: None,
        }
    }
}

impl From<&str> for Advice {
    fn from(problem: &str) -> Advice {
        problem.to_owned().into()
    }
}

impl std::error::Error for Advice {}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}
