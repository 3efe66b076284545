//! From disks to packs and an index: what a release consists of before it has a name.

use std::path::PathBuf;

use livepc_format::index::{ObjectRef, PackList};

use crate::cost::{Cost, Costs, User};
use crate::destination::Destination;
use crate::error::Result;
use crate::extents::write_index;
use crate::known::{check_present, known};
use crate::layout::Layout;
use crate::opened::{Kept, Opened};
use crate::output::Output;
use crate::pack::pack;
use crate::progress::Progress;
use crate::resolve::resolve;
use crate::scan::scan;

/// All that the making of packs and index needs.
pub(crate) struct Workshop<'a> {
    pub(crate) dest: &'a dyn Destination,
    pub(crate) opened: Option<&'a Opened<'a>>,
    pub(crate) kept: &'a [Kept<'a>],
    pub(crate) output: &'a Output<'a>,
    pub(crate) level: i32,
    pub(crate) scratch: PathBuf,
    pub(crate) progress: &'a dyn Progress,
}

/// What was written.
pub(crate) struct Content {
    /// The root of each published disk's index.
    pub(crate) roots: Vec<ObjectRef>,
    /// The list of all packs that the disks use.
    pub(crate) packs: ObjectRef,
    pub(crate) costs: Costs,
    pub(crate) pages_new: u64,
    pub(crate) pages_known: u64,
    pub(crate) pages_repeated: u64,
    pub(crate) chunks: u64,
    pub(crate) packs_new: u64,
    pub(crate) pack_bytes: u64,
}

impl Workshop<'_> {
    pub(crate) fn write(&self, layout: &Layout) -> Result<Content> {
        let Self {
            dest,
            opened,
            kept,
            output,
            progress,
            ..
        } = *self;
        let scratch = &self.scratch;
        let (mut packs, known) = known(dest, opened, kept, scratch, progress)?;
        let found = scan(layout, scratch, progress)?;
        let resolved = resolve(&found, &known, scratch)?;
        drop((found, known));
        check_present(dest, &packs, &resolved.known)?;
        let packed = pack(
            layout,
            &resolved.new,
            &mut packs,
            output,
            self.level,
            scratch,
            progress,
        )?;
        let mut cost = Cost::new(layout.disks.len(), kept, scratch);
        let roots = write_index(layout, &resolved, &packed, &packs, &mut cost, output, progress)?;

        let mut used: Vec<_> = cost.used().map(|number| packs.get(number).clone()).collect();
        used.sort_unstable_by_key(|pack| pack.id);
        let (bytes, list) = PackList { packs: used }.encode()?;
        output.put_object(&list.digest, &bytes)?;
        cost.object(&list, User::disk(0));
        if let Some(opened) = opened {
            cost.add_kept(opened, kept, &packs)?;
        }
        Ok(Content {
            roots,
            packs: list,
            costs: cost.reckon(dest, &packs, &packed, progress)?,
            pages_new: resolved.new.len(),
            pages_known: resolved.known.len(),
            pages_repeated: resolved.repeats.len(),
            chunks: packed.chunks,
            packs_new: packed.len() as u64,
            pack_bytes: packed.stored,
        })
    }
}
