//! A run made of named steps: announced, timed, summed up at the end.
//!
//! A failed step does not end the run, so that one visit shows all that is wrong; who must stop
//! asks for the step's outcome.

use std::time::{Duration, Instant};

use crate::shell::Failure;

/// The steps that were run, in order.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: &'static str,
    took: Duration,
    failure: Option<Failure>,
}

impl Steps {
    /// Announces and runs a step; true if it went well.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        what: &str,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> bool {
        println!("==> {name}: {what}");
        let begin = Instant::now();
        let failure = work().err();
        if let Some(failure) = &failure {
            println!("==> {name} FAILED: {failure}");
        }
        let well = failure.is_none();
        self.done.push(Done { name, took: begin.elapsed(), failure });
        well
    }

    /// One line per step with its seconds.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("==> summary\n");
        for step in &self.done {
            let verdict = if step.failure.is_none() { "ok" } else { "FAILED" };
            let seconds = step.took.as_secs_f64();
            text.push_str(&format!("    {:<10} {seconds:>7.1} s  {verdict}\n", step.name));
        }
        text
    }

    /// Ok if every step went well, else a failure that names those which did not.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let failed: Vec<_> =
            self.done.iter().filter(|step| step.failure.is_some()).map(|step| step.name).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failure(format!("failed: {}", failed.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_and_the_rest_still_runs() {
        let mut steps = Steps::default();
        assert!(!steps.step("first", "fails", || Err(Failure::new("no"))));
        assert!(steps.step("second", "goes well", || Ok(())));
        assert_eq!(steps.verdict().unwrap_err().0, "failed: first");
        let summary = steps.summary();
        let verdicts: Vec<_> =
            summary.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(verdicts, ["FAILED", "ok"]);
    }

    #[test]
    fn steps_that_all_went_well_are_a_good_verdict() {
        let mut steps = Steps::default();
        steps.step("only", "goes well", || Ok(()));
        assert!(steps.verdict().is_ok());
    }
}
