//! Which hypervisor runs a machine.

use std::sync::Arc;

use livepc_format::machine::{HypervisorKind, Machine};
use livepc_hypervisor::{Hypervisor, HypervisorError, Installation};
use livepc_protocol::{Code, Problem};

use crate::hypervisors::{HypervisorSettings, KINDS, for_clients, of_hypervisor};

/// What decides, besides what the release prefers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// What was asked for at this start: no other will do.
    pub(super) asked: Option<HypervisorKind>,
    /// What a suspension or kept changes belong to: nothing else can read them.
    pub(super) bound: Option<HypervisorKind>,
}

/// What was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    pub(super) installation: Installation,
    /// Why those that come before it were not taken, if somebody wanted one of them.
    pub(super) passed_over: Option<String>,
}

/// The first hypervisor that is here and takes the machine: what was asked for, else what the settings prefer, else what the
/// publisher does. `check` says whether one takes it.
///
/// # Errors
/// What is wrong with each, if none does.
pub(super) async fn choose(
    settings: &HypervisorSettings,
    wish: Wish,
    machine: &Machine,
    check: impl Fn(&dyn Hypervisor) -> Result<(), HypervisorError>,
) -> Result<Chosen, Problem> {
    let mut refused = Vec::new();
    for kind in candidates(wish, settings.preferred, &machine.hypervisors) {
        let found = async {
            let hypervisor = settings.find(kind, machine.architecture).await?;
            let installation = hypervisor.inspect().await?;
            check(&*hypervisor)?;
            Ok((hypervisor, installation))
        };
        match found.await {
            Ok((hypervisor, installation)) => {
                let wanted = settings.preferred.iter().chain(&machine.hypervisors);
                let wanted: Vec<_> = wanted.copied().collect();
                return Ok(Chosen {
                    hypervisor,
                    installation,
                    passed_over: passed_over(&refused, &wanted),
                });
            }
            Err(error) => {
                tracing::info!(?kind, %error, "a hypervisor does not run the machine");
                refused.push((kind, error));
            }
        }
    }
    Err(none(&refused))
}

/// The hypervisors to try, the best first.
fn candidates(
    wish: Wish,
    preferred: Option<HypervisorKind>,
    published: &[HypervisorKind],
) -> Vec<HypervisorKind> {
    if let Some(only) = wish.asked.or(wish.bound) {
        return vec![only];
    }
    let mut order = Vec::new();
    for kind in preferred
        .into_iter()
        .chain(published.iter().copied())
        .chain(KINDS)
    {
        if !order.contains(&kind) {
            order.push(kind);
        }
    }
    order
}

/// Why others were not taken. That one is not installed is only news if somebody wanted it.
fn passed_over(refused: &[(HypervisorKind, HypervisorError)], wanted: &[HypervisorKind]) -> Option<String> {
    let news = refused
        .iter()
        .filter(|(kind, error)| wanted.contains(kind) || !matches!(error, HypervisorError::NotFound { .. }));
    let told: Vec<_> = news.map(|(_, error)| sentence(error)).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

fn sentence(error: &HypervisorError) -> String {
    of_hypervisor(error).message
}

/// The problem of a machine that nothing runs.
fn none(refused: &[(HypervisorKind, HypervisorError)]) -> Problem {
    if let [(_, only)] = refused {
        return of_hypervisor(only);
    }
    let here: Vec<_> = refused
        .iter()
        .filter(|(_, error)| !matches!(error, HypervisorError::NotFound { .. }))
        .collect();
    match here.as_slice() {
        [] => {
            let names: Vec<_> = refused
                .iter()
                .map(|(kind, _)| for_clients(*kind).name())
                .collect();
            let hint = refused.last().map(|(_, error)| of_hypervisor(error).hint);
            Problem::new(
                Code::Hypervisor,
                format!(
                    "There is no hypervisor on this computer: neither {} was found.",
                    names.join(" nor ")
                ),
                hint.unwrap_or_default(),
            )
            .of_this_computer()
        }
        [(_, only)] => of_hypervisor(only),
        several => {
            let told: Vec<_> = several.iter().map(|(_, error)| sentence(error)).collect();
            let hints: Vec<_> = several
                .iter()
                .map(|(kind, error)| format!("{}: {}", for_clients(*kind).name(), of_hypervisor(error).hint))
                .collect();
            Problem::new(Code::Hypervisor, told.join(" "), hints.join(" ")).of_this_computer()
        }
    }
}

#[cfg(test)]
mod tests {
    use HypervisorKind::{Qemu, Vmware};

    use super::*;

    fn missing() -> HypervisorError {
        HypervisorError::NotFound {
            program: "VMware".into(),
            hint: "install it",
        }
    }

    fn unable() -> HypervisorError {
        HypervisorError::Unsupported {
            hypervisor: "VMware",
            why: "it is not complete; download it first".into(),
        }
    }

    #[test]
    fn a_person_decides_then_the_settings_then_the_publisher() {
        let asked = Wish {
            asked: Some(Qemu),
            bound: None,
        };
        assert_eq!(
            candidates(asked, Some(Vmware), &[Vmware]),
            [Qemu],
            "no other will do"
        );
        let bound = Wish {
            asked: None,
            bound: Some(Qemu),
        };
        assert_eq!(
            candidates(bound, Some(Vmware), &[Vmware]),
            [Qemu],
            "nothing else reads its changes"
        );
        let none = Wish::default();
        assert_eq!(candidates(none, Some(Qemu), &[Vmware]), [Qemu, Vmware]);
        assert_eq!(candidates(none, None, &[Qemu]), [Qemu, Vmware]);
        assert_eq!(
            candidates(none, None, &[]),
            [Vmware, Qemu],
            "who has VMware gets VMware"
        );
    }

    #[test]
    fn why_another_was_not_taken_is_told_to_those_who_want_it() {
        assert_eq!(
            passed_over(&[(Vmware, missing())], &[]),
            None,
            "most people have none"
        );
        let told = passed_over(&[(Vmware, missing())], &[Vmware]);
        assert_eq!(told.as_deref(), Some("VMware was not found."));
        let told = passed_over(&[(Vmware, unable())], &[]);
        assert!(told.is_some_and(|told| told.contains("not complete")));
    }

    #[test]
    fn where_nothing_runs_the_machine_it_is_said_why() {
        let both = none(&[(Vmware, missing()), (Qemu, missing())]);
        assert_eq!(
            both.message,
            "There is no hypervisor on this computer: neither VMware nor QEMU was found."
        );
        assert_eq!(both.hint, "Install it.");
        let one = none(&[(Vmware, unable()), (Qemu, missing())]);
        assert!(one.message.contains("not complete"), "{one}");
        let two = none(&[(Vmware, unable()), (Qemu, unable())]);
        assert!(
            two.hint
                .contains("VMware: Download it first. QEMU: Download it first."),
            "{two:?}"
        );
    }
}
