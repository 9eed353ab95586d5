//! Publishers, as indexes name them, and whether a certificate was given to one.
//!
//! An index knows a publisher by what it was told when the project's owner set it up; a certificate knows the run that asked for it. The two are the same when the
//! certificate's repository and build configuration are the publisher's, at whatever commit or branch the run was of.

use std::fmt;

use serde::Deserialize;

/// Where publishers' repositories are, and who gives their runs identities.
const GITHUB: &str = "https://github.com";
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const GOOGLE_ISSUER: &str = "https://accounts.google.com";
const CIRCLECI_ISSUER: &str = "https://oidc.circleci.com";
const CIRCLECI_PROJECTS: &str = "https://circleci.com/api/v2/projects";

/// Who published a file, by PEP 740.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind")]
pub enum Publisher {
    GitHub {
        repository: String,
        workflow: String,
    },
    GitLab {
        repository: String,
        workflow_filepath: String,
    },
    Google {
        email: String,
    },
    #[serde(rename = "CircleCI")]
    CircleCi {
        project_id: String,
        pipeline_definition_id: String,
        #[serde(default)]
        vcs_origin: Option<String>,
        #[serde(default)]
        vcs_ref: Option<String>,
    },
    /// Of a kind that is not known here; nothing is verified for it.
    #[serde(other)]
    Unknown,
}

/// What a certificate says of whom it was given to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    pub identity: Option<String>,
    pub issuer: Option<String>,
    pub source_repository: Option<String>,
    pub source_digest: Option<String>,
    pub source_ref: Option<String>,
    pub build_config: Option<String>,
    pub build_signer: Option<String>,
}

impl Publisher {
    /// Whether the certificate was given to this publisher.
    pub fn holds(&self, claims: &Claims) -> bool {
        let is = |claim: &Option<String>, expected: &str| claim.as_deref() == Some(expected);
        match self {
            Self::GitHub { repository, workflow } => {
                let source = format!("{GITHUB}/{repository}");
                let config = format!("{source}/.github/workflows/{workflow}");
                is(&claims.issuer, GITHUB_ISSUER)
                    && is(&claims.source_repository, &source)
                    && claims.is_build_of(&config)
            }
            Self::GitLab { repository, workflow_filepath } => {
                let source = format!("{GITLAB}/{repository}");
                let config = format!("{source}//{workflow_filepath}");
                is(&claims.issuer, GITLAB)
                    && is(&claims.source_repository, &source)
                    && claims.is_build_of(&config)
            }
            Self::Google { email } => {
                is(&claims.issuer, GOOGLE_ISSUER) && is(&claims.identity, email)
            }
            Self::CircleCi { project_id, pipeline_definition_id, vcs_origin, vcs_ref } => {
                let signer = format!(
                    "{CIRCLECI_PROJECTS}/{project_id}/pipeline-definitions/{pipeline_definition_id}"
                );
                let may_be = |claim: &Option<String>, expected: &Option<String>| {
                    expected.as_deref().is_none_or(|expected| is(claim, expected))
                };
                is(&claims.issuer, CIRCLECI_ISSUER)
                    && is(&claims.build_signer, &signer)
                    && may_be(&claims.source_repository, vcs_origin)
                    && may_be(&claims.source_ref, vcs_ref)
            }
            Self::Unknown => false,
        }
    }
}

impl Claims {
    /// Whether the run was of this configuration, at the commit or the branch that the certificate names.
    fn is_build_of(&self, config: &str) -> bool {
        let Some((built, at)) = self.build_config.as_deref().and_then(|text| text.rsplit_once('@'))
        else {
            return false;
        };
        let known = [&self.source_digest, &self.source_ref];
        built == config && known.into_iter().flatten().any(|known| known == at)
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitHub { repository, .. } => write!(f, "GitHub:{repository}"),
            Self::GitLab { repository, .. } => write!(f, "GitLab:{repository}"),
            Self::Google { email } => write!(f, "Google:{email}"),
            Self::CircleCi { project_id, .. } => write!(f, "CircleCI:{project_id}"),
            Self::Unknown => f.write_str("of an unknown kind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(text: &str) -> Publisher {
        serde_json::from_str(text).expect("a publisher")
    }

    fn claims() -> Claims {
        let text = |text: &str| Some(text.to_owned());
        Claims {
            identity: text("https://github.com/o/r/.github/workflows/w.yml@refs/heads/main"),
            issuer: text(GITHUB_ISSUER),
            source_repository: text("https://github.com/o/r"),
            source_digest: text("abc"),
            source_ref: text("refs/heads/main"),
            build_config: text("https://github.com/o/r/.github/workflows/w.yml@refs/heads/main"),
            build_signer: None,
        }
    }

    #[test]
    fn a_certificate_of_somebody_else_is_not_the_publishers() {
        let ours = publisher(
            r#"{"kind": "GitHub", "repository": "o/r", "workflow": "w.yml", "environment": null}"#,
        );
        assert!(ours.holds(&claims()));
        let refused = |change: fn(&mut Claims)| {
            let mut claims = claims();
            change(&mut claims);
            assert!(!ours.holds(&claims), "{claims:?}");
        };
        refused(|claims| claims.issuer = Some("https://issuer.example".to_owned()));
        refused(|claims| claims.issuer = None);
        refused(|claims| claims.source_repository = Some("https://github.com/o/r2".to_owned()));
        refused(|claims| claims.build_config = None);
        refused(|claims| {
            claims.build_config =
                Some("https://github.com/o/r/.github/workflows/w.yml@refs/heads/other".to_owned());
        });
        refused(|claims| {
            claims.build_config =
                Some("https://github.com/o/r/.github/workflows/x.yml@abc".to_owned());
        });
        refused(|claims| (claims.source_digest, claims.source_ref) = (None, None));
        let unknown = publisher(r#"{"kind": "Somebody", "claims": {}}"#);
        assert_eq!(unknown, Publisher::Unknown);
        assert!(!unknown.holds(&claims()));
    }

    #[test]
    fn each_kind_has_its_own_marks() {
        let text = |text: &str| Some(text.to_owned());
        let gitlab = publisher(
            r#"{"kind": "GitLab", "repository": "g/s/p", "workflow_filepath": ".gitlab-ci.yml"}"#,
        );
        assert!(gitlab.holds(&Claims {
            issuer: text(GITLAB),
            source_repository: text("https://gitlab.com/g/s/p"),
            source_digest: text("abc"),
            build_config: text("https://gitlab.com/g/s/p//.gitlab-ci.yml@abc"),
            ..Claims::default()
        }));
        let google = publisher(r#"{"kind": "Google", "email": "a@b.example"}"#);
        let mut claims = Claims {
            issuer: text(GOOGLE_ISSUER),
            identity: text("a@b.example"),
            ..Claims::default()
        };
        assert!(google.holds(&claims));
        claims.identity = text("c@b.example");
        assert!(!google.holds(&claims));
        assert_eq!(google.to_string(), "Google:a@b.example");
    }
}
