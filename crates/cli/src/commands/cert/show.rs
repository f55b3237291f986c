//! `noctule cert --info`: the certificates of a file in words.

use std::fmt::Write;
use std::path::Path;

use noctule_cert::{
    CertificateFacts, Contents, FileError, PrivateKey, UnixTime, facts, is_signed_by, read_anything,
};

/// Says what is in a file.
pub(super) fn file(path: &Path, now: UnixTime) -> Result<String, FileError> {
    let contents = read_anything(path)?;
    let mut out = format!("{}: {}\n", path.display(), summary(&contents));
    for (index, der) in contents.certificates.iter().enumerate() {
        let Some(facts) = facts(der) else {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "\ncertificate {}: is no X.509 certificate", index + 1);
            continue;
        };
        let _ = writeln!(out, "\ncertificate {}", index + 1);
        for (name, value) in rows(&facts, signer(index, &facts, &contents), now) {
            let _ = writeln!(out, "  {name:<11} {value}");
        }
    }
    if contents.private_keys > 0 {
        let _ = writeln!(out, "\n{}", key_line(path, &contents)?);
    }
    Ok(out)
}

fn summary(contents: &Contents) -> String {
    let count = |count: usize, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {more}")),
    };
    let parts = [
        count(contents.certificates.len(), "certificate", "certificates"),
        count(contents.private_keys, "private key", "private keys"),
        count(contents.revocation_lists, "revocation list", "revocation lists"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn rows(facts: &CertificateFacts, signer: String, now: UnixTime) -> Vec<(&'static str, String)> {
    let names = if facts.names.is_empty() { "none".to_owned() } else { facts.names.join(", ") };
    vec![
        ("subject", facts.subject.clone()),
        ("issuer", facts.issuer.clone()),
        ("signed by", signer),
        ("serial", facts.serial.clone()),
        ("names", names),
        ("valid from", facts.not_before.to_string()),
        ("until", format!("{} ({})", facts.not_after, left(facts, now))),
        ("key", facts.key.clone()),
        ("usage", usage(facts)),
        ("CA", if facts.is_ca { "yes, it may sign others" } else { "no" }.to_owned()),
        ("SHA-256", facts.fingerprint_sha256.clone()),
    ]
}

fn left(facts: &CertificateFacts, now: UnixTime) -> String {
    let days = |count: i64| if count == 1 { "1 day".to_owned() } else { format!("{count} days") };
    if now > facts.not_after {
        format!("expired, {} ago", days(now.days_since(facts.not_after)))
    } else if now < facts.not_before {
        format!("not valid yet, in {}", days(facts.not_before.days_since(now)))
    } else {
        format!("{} left", days(facts.not_after.days_since(now)))
    }
}

fn usage(facts: &CertificateFacts) -> String {
    let key = facts.key_usages.iter().map(|usage| (*usage).to_owned());
    let all: Vec<_> = key.chain(facts.extended_key_usages.iter().cloned()).collect();
    if all.is_empty() { "not restricted".to_owned() } else { all.join(", ") }
}

/// Whose key has signed this certificate, as far as the file tells.
fn signer(index: usize, facts: &CertificateFacts, contents: &Contents) -> String {
    let all = &contents.certificates;
    let own = &all[index];
    if facts.self_issued && is_signed_by(own, own) {
        return "itself".to_owned();
    }
    match all.iter().position(|other| is_signed_by(own, other)) {
        Some(other) if other == index + 1 => format!("certificate {}, the next", other + 1),
        Some(other) => format!("certificate {}", other + 1),
        None => "not in this file".to_owned(),
    }
}

fn key_line(path: &Path, contents: &Contents) -> Result<String, FileError> {
    let key = PrivateKey::read(path)?;
    let whose = contents.certificates.iter().position(|der| key.belongs_to(der));
    let whose = match whose {
        Some(index) => format!("belongs to certificate {}", index + 1),
        None if contents.certificates.is_empty() => "its certificate is elsewhere".to_owned(),
        None => "belongs to no certificate in this file".to_owned(),
    };
    Ok(format!("private key: {}, {whose}; it is not shown", key.kind()))
}
