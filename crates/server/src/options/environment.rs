//! Overrides from environment variables `NOCTULE_…`.
//!
//! The process environment is not read here; the variables come as a list. Invariant: a variable
//! that does not begin with our prefix is never looked at.

use std::ffi::OsString;

use super::nearest::nearest;
use super::problem::{Place, Problem};
use super::spec::{OptionSpec, VARIABLE_PREFIX};
use super::table::{Config, OPTIONS};
use super::value::Given;

/// What the environment had wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Values that are not accepted.
    pub(crate) problems: Vec<Problem>,
    /// Variables that are no option; they may be meant for another program.
    pub(crate) warnings: Vec<Problem>,
}

/// Sets in `config` what the variables say.
pub(crate) fn read_variables(variables: &[(OsString, OsString)], config: &mut Config) -> Findings {
    let mut findings = Findings::default();
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| is_ours(name)).collect();
    ours.sort();
    for (name, value) in ours {
        let name = name.to_string_lossy().into_owned();
        match OPTIONS.iter().find(|spec| spec.variable() == name) {
            Some(spec) => findings.problems.extend(set(spec, name, value, config)),
            None => findings.warnings.push(unknown(&name)),
        }
    }
    findings
}

fn is_ours(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(VARIABLE_PREFIX.as_bytes())
}

fn set(spec: &OptionSpec, name: String, value: &OsString, config: &mut Config) -> Option<Problem> {
    let applied = match value.to_str() {
        Some(text) => spec.apply(config, &Given::Words(text.to_owned())),
        None => Err(format!("expected {}, found what is not UTF-8", spec.expected())),
    };
    applied.err().map(|message| Problem { place: Place::Variable(name), message })
}

fn unknown(name: &str) -> Problem {
    let variables = OPTIONS.iter().map(|spec| (spec.variable(), spec.variable()));
    let known = nearest(name, variables).unwrap_or_default();
    let message = format!("is not an option and has no effect; the nearest one is {known}");
    Problem { place: Place::Variable(name.escape_debug().to_string()), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Config, Findings) {
        let mut config = Config::default();
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let findings = read_variables(&variables, &mut config);
        (config, findings)
    }

    #[test]
    fn variables_set_options_at_the_top_and_in_sections() {
        let (config, findings) = read(&[
            ("NOCTULE_BIND", "0.0.0.0,::"),
            ("NOCTULE_TLS", "false"),
            ("NOCTULE_LIMITS_QOS2_IDS_MAX", "7"),
            ("NOCTULE_SESSION_ON_QUEUE_FULL", "refuse"),
            ("HOME", "/nowhere"),
        ]);
        assert!(findings.problems.is_empty() && findings.warnings.is_empty());
        assert_eq!(config.bind.len(), 2);
        assert!(!config.tls);
        assert_eq!(config.limits.qos2_ids_max, 7);
        assert_eq!(config.session.on_queue_full, super::super::OnQueueFull::Refuse);
    }

    #[test]
    fn a_wrong_value_is_a_problem_that_names_the_variable() {
        let (_, findings) = read(&[("NOCTULE_PORT", "many")]);
        assert_eq!(
            findings.problems[0].to_string(),
            "environment variable NOCTULE_PORT: expected a whole number from 0 to 65535, found \
             \"many\""
        );
    }

    #[test]
    fn an_unknown_variable_is_a_warning_with_the_nearest_known_one() {
        let (config, findings) = read(&[("NOCTULE_PROT", "1"), ("NOCTULEX", "1")]);
        assert_eq!(config, Config::default());
        assert!(findings.problems.is_empty());
        assert_eq!(findings.warnings.len(), 1);
        assert_eq!(
            findings.warnings[0].to_string(),
            "environment variable NOCTULE_PROT: is not an option and has no effect; the nearest \
             one is NOCTULE_PORT"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_is_a_problem() {
        use std::os::unix::ffi::OsStringExt;
        let variables = [("NOCTULE_DATA_DIR".into(), OsString::from_vec(vec![0xff]))];
        let findings = read_variables(&variables, &mut Config::default());
        assert!(findings.problems[0].message.contains("found what is not UTF-8"));
    }
}
