//! What disks are for, from release to release.

use livepc_format::manifest::Content;

use crate::error::{PublishError, Result};
use crate::opened::Opened;
use crate::project::{Project, ProjectContent};

/// Refuses a disk that is the subscriber's own in one release and published in another, under one role: what subscribers
/// have of the one would be taken for the other. Every listed release counts, since any may be the one that they have.
pub(crate) fn check(project: &Project, opened: &Opened<'_>) -> Result<()> {
    for release in opened.head.iter().flat_map(|head| &head.releases) {
        let manifest = match opened.manifest(release) {
            // A withdrawn one's files go away.
            Err(PublishError::Lost { .. }) => continue,
            manifest => manifest?,
        };
        for disk in &project.disks {
            let own = matches!(disk.content, ProjectContent::User { .. });
            let before = manifest.disks.iter().find(|before| before.role == disk.role);
            let was_own = before.map(|before| matches!(before.content, Content::User { .. }));
            if let Some(was_own) = was_own.filter(|was_own| *was_own != own) {
                return Err(PublishError::DiskRole {
                    role: disk.role.clone(),
                    release: release.sequence,
                    was_own,
                });
            }
        }
    }
    Ok(())
}
