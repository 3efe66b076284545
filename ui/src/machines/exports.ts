import type { ExportFormat } from '../lib/bindings/ExportFormat';
import type { LivePc } from '../lib/bindings/LivePc';
import type { Request } from '../lib/bindings/Request';
import type { Choice } from '../lib/ui/Choices.svelte';
import { words } from '../lib/words';
import { releaseName } from './status';
import { isIdle, nextRelease } from './steps';

/** Something of a LivePC that can be exported. */
export interface Source extends Choice {
  /** The release; the one that changes belong to if null. */
  release: number | null;
  /** The only disk, if it is one of the subscriber's own. */
  disk?: string;
  changes: boolean;
}

/** What can be exported of a LivePC in its state: its release, and of a machine that is stopped its changes and own disks. */
export function exportable(livepc: LivePc): Source[] {
  const release = nextRelease(livepc);
  const missing = livepc.complete ? 0 : Math.max(0, livepc.bytes_total - livepc.bytes_local);
  const sources: Source[] = [
    {
      value: 'published',
      label: words.export.published(release === null ? null : releaseName(livepc, release)),
      text: words.export.publishedText(missing),
      release,
      changes: false,
    },
  ];
  if (!isIdle(livepc)) return sources;
  if (livepc.changes_bytes > 0) {
    sources.unshift({
      value: 'changed',
      label: words.export.changed,
      text: words.export.changedText(livepc.changes_bytes),
      release: null,
      changes: true,
    });
  }
  for (const { role, size, made } of livepc.own_disks) {
    if (!made) continue;
    sources.push({ value: `own-${role}`, label: words.export.own(role), text: words.export.ownText(size), release, disk: role, changes: false });
  }
  return sources;
}

/** What an export is called if nobody says otherwise: an id and a role are checked names. */
export function exportName(livepc: LivePc, source: Source | null, format: ExportFormat): string {
  const name = source?.disk === undefined ? livepc.id : `${livepc.id}-${source.disk}`;
  return format === 'vmx' ? name : `${name}.${format}`;
}

/** The request for an export. */
export function exportOf(livepc: LivePc, source: Source, format: ExportFormat, place: string, force: boolean): Request {
  const { release, disk = null, changes } = source;
  return { verb: 'export', id: livepc.id, release, export: { format, disk, changes, place, force } };
}
