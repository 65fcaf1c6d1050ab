//! Features that only a rig may ask for: nothing that is built without being told so has them.

use super::metadata::{Metadata, Package};

/// The features, and why they are dangerous elsewhere.
const FOR_RIGS: [(&str, &str); 1] = [("unsealed", "it keeps records unsealed on the box")];

/// One line per place that switches one of them on by itself.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    metadata.members().flat_map(check_member).collect()
}

fn check_member(package: &Package) -> Vec<String> {
    let mut findings = Vec::new();
    for (feature, why) in FOR_RIGS {
        let names_it = |name: &String| name == feature || name.ends_with(&format!("/{feature}"));
        // Only the feature of the same name may pass it on.
        for (name, switches) in &package.features {
            if name != feature && switches.iter().any(names_it) {
                findings.push(format!(
                    "{} has the feature {feature} behind {name}: {why}",
                    package.name
                ));
            }
        }
        for dependency in &package.dependencies {
            if dependency.features.iter().any(names_it) {
                findings.push(format!(
                    "{} asks {} for the feature {feature}: {why}",
                    package.name, dependency.name
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::check_member;
    use crate::tidy::metadata::{Dependency, Package};

    fn package(feature: &str, asked: &[&str]) -> Package {
        Package {
            name: "box".to_owned(),
            id: "box".to_owned(),
            dependencies: vec![Dependency {
                name: "store".to_owned(),
                kind: None,
                features: asked.iter().map(|name| (*name).to_owned()).collect(),
            }],
            features: [(feature.to_owned(), vec!["store/unsealed".to_owned()])].into(),
        }
    }

    #[test]
    fn a_rigs_feature_is_passed_on_under_its_own_name_only() {
        assert!(check_member(&package("unsealed", &[])).is_empty());
        assert_eq!(check_member(&package("default", &[])).len(), 1);
        assert_eq!(check_member(&package("unsealed", &["unsealed"])).len(), 1);
    }
}
