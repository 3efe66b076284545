//! The hypervisors of this computer: where the settings say they are, and what is found of each.

use std::path::PathBuf;
use std::sync::Arc;

use livepc_format::machine::{Architecture, HypervisorKind};
use livepc_hypervisor::{Hypervisor, HypervisorError, ImageTool, Qemu, Search, Vmware, VmwareSearch};
use livepc_protocol::{Answer, Code, Home, HypervisorStatus, Problem, Request};

use crate::backend::AgentLink;
use crate::config;
use crate::server::misplaced;

/// Every kind, the one first that is taken where nothing else decides.
pub(crate) const KINDS: [HypervisorKind; 2] = [HypervisorKind::Vmware, HypervisorKind::Qemu];

/// What the settings say of hypervisors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HypervisorSettings {
    /// The one that is tried first.
    pub(crate) preferred: Option<HypervisorKind>,
    qemu: Option<PathBuf>,
    vmware: Option<PathBuf>,
    /// Whether VMware may run what is not complete.
    vmware_streams: bool,
    /// A private folder with a short path, for what trying out takes for a moment.
    scratch: Option<PathBuf>,
}

impl HypervisorSettings {
    /// Out of the values of settings by their names.
    ///
    /// # Errors
    /// Those of `value`.
    pub(crate) fn read(mut value: impl FnMut(&str) -> Result<String, Problem>) -> Result<Self, Problem> {
        let path = |value: String| (!value.is_empty()).then(|| PathBuf::from(value));
        Ok(Self {
            preferred: kind_of(&value(config::HYPERVISOR)?),
            qemu: path(value(config::QEMU)?),
            vmware: path(value(config::VMWARE)?),
            vmware_streams: value(config::VMWARE_STREAMS)? == "true",
            scratch: None,
        })
    }

    /// For hypervisors that are used for this home.
    #[must_use]
    pub(crate) fn in_home(self, home: &Home) -> Self {
        Self {
            // Without it there are the system's own folders, for a moment.
            scratch: home.sockets().ok(),
            ..self
        }
    }

    fn search(&self) -> Search {
        Search {
            scratch: self.scratch.clone(),
            ..Search::of_system(self.qemu.clone())
        }
    }

    /// As the agent has them.
    pub(crate) async fn ask(link: &AgentLink) -> Result<Self, Problem> {
        let mut values = std::collections::HashMap::new();
        for name in [
            config::HYPERVISOR,
            config::QEMU,
            config::VMWARE,
            config::VMWARE_STREAMS,
        ] {
            let request = Request::ConfigGet { name: name.into() };
            let Answer::Setting { value, .. } = link.call(request).await? else {
                return Err(misplaced());
            };
            values.insert(name, value);
        }
        Self::read(|name| Ok(values.remove(name).unwrap_or_default()))
    }

    /// The hypervisor of this kind.
    ///
    /// # Errors
    /// When it is not here, or does not work.
    pub(crate) async fn find(
        &self,
        kind: HypervisorKind,
        architecture: Architecture,
    ) -> Result<Arc<dyn Hypervisor>, HypervisorError> {
        Ok(match kind {
            HypervisorKind::Qemu => Arc::new(Qemu::find(&self.search(), architecture).await?),
            HypervisorKind::Vmware => {
                let search = VmwareSearch::of_system(self.vmware.clone());
                let mut vmware = Vmware::find(&search).await?;
                vmware.streaming = self.vmware_streams;
                Arc::new(vmware)
            }
        })
    }

    /// The user's QEMU, as itself.
    ///
    /// # Errors
    /// When it is not here, or does not work.
    pub(crate) async fn qemu(&self) -> Result<Qemu, HypervisorError> {
        Qemu::find(&Search::of_system(self.qemu.clone()), Architecture::X86_64).await
    }

    /// The `qemu-img` of the user's QEMU.
    ///
    /// # Errors
    /// When it is not here.
    pub(crate) fn image_tool(&self) -> Result<ImageTool, HypervisorError> {
        ImageTool::find(&self.search())
    }

    /// What is here, for people. Tries accelerators, which takes up to ten seconds.
    pub(crate) async fn survey(&self) -> Vec<HypervisorStatus> {
        let mut all = Vec::new();
        for kind in KINDS {
            all.push(match self.look(kind).await {
                Ok(status) => status,
                Err(error) => HypervisorStatus {
                    kind: for_clients(kind),
                    name: for_clients(kind).name().into(),
                    program: String::new(),
                    version: String::new(),
                    accelerator: String::new(),
                    limits: Vec::new(),
                    problem: Some(of_hypervisor(&error)),
                },
            });
        }
        all
    }

    async fn look(&self, kind: HypervisorKind) -> Result<HypervisorStatus, HypervisorError> {
        let found = self.find(kind, Architecture::X86_64).await?;
        let installation = found.inspect().await?;
        let accelerator = installation
            .accelerator
            .map_or("", livepc_hypervisor::Accelerator::name);
        let mut limits = Vec::new();
        if accelerator == "tcg" {
            let why = installation.rejected.iter();
            let why = why.map(|no| format!(" {}: {}.", no.accelerator.name(), no.why));
            limits.push(format!(
                "Machines run about ten times slower than with the processor's help.{}",
                why.collect::<String>()
            ));
        }
        limits.extend(installation.limits);
        Ok(HypervisorStatus {
            kind: for_clients(kind),
            name: installation.product.into(),
            program: installation.program.display().to_string(),
            version: installation.version,
            accelerator: accelerator.into(),
            limits,
            problem: None,
        })
    }
}

/// The kind that a word means, if it means one.
pub(crate) fn kind_of(word: &str) -> Option<HypervisorKind> {
    KINDS.into_iter().find(|kind| crate::words::word(kind) == word)
}

/// A kind as clients know it.
pub(crate) fn for_clients(kind: HypervisorKind) -> livepc_protocol::HypervisorKind {
    match kind {
        HypervisorKind::Qemu => livepc_protocol::HypervisorKind::Qemu,
        HypervisorKind::Vmware => livepc_protocol::HypervisorKind::Vmware,
    }
}

/// A kind as clients name it.
pub(crate) fn of_clients(kind: livepc_protocol::HypervisorKind) -> HypervisorKind {
    match kind {
        livepc_protocol::HypervisorKind::Qemu => HypervisorKind::Qemu,
        livepc_protocol::HypervisorKind::Vmware => HypervisorKind::Vmware,
    }
}

/// What went wrong with a hypervisor.
pub(crate) fn of_hypervisor(error: &HypervisorError) -> Problem {
    let mut problem = Problem::of_text(Code::Hypervisor, &error.to_string());
    if problem.hint.is_empty() {
        problem.hint = "“livepc doctor” shows which hypervisors were found.".into();
    }
    if error.is_of_this_computer() {
        return problem.of_this_computer();
    }
    problem
}
