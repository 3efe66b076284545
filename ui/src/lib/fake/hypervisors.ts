import type { HypervisorKind } from '../bindings/HypervisorKind';
import type { HypervisorStatus } from '../bindings/HypervisorStatus';
import type { LivePc } from '../bindings/LivePc';
import type { Problem } from '../bindings/Problem';
import { KINDS } from '../hypervisors.svelte';
import { boundTo } from '../../machines/status';
import type { Scene } from './scenes';

/** The settings of the invented host, by their names. */
export type Settings = Map<string, string>;

const FOUND: Record<HypervisorKind, Omit<HypervisorStatus, 'kind' | 'limits' | 'problem'>> = {
  vmware: { name: 'VMware Workstation', program: 'C:\\Program Files (x86)\\VMware\\VMware Workstation\\vmrun.exe', version: '17.5.0', accelerator: '' },
  qemu: { name: 'QEMU', program: '/usr/bin/qemu-system-x86_64', version: '9.2.1', accelerator: 'kvm' },
};
const MISSING: Record<HypervisorKind, Problem> = {
  vmware: {
    code: 'hypervisor',
    message: 'Vmrun was not found.',
    hint: 'Install VMware Workstation or Player, choose its folder in the settings, or start the machine with QEMU.',
  },
  qemu: {
    code: 'hypervisor',
    message: 'Qemu-system-x86_64 was not found.',
    hint: 'Install QEMU (Debian and Ubuntu: qemu-system-x86), or choose its program in the settings.',
  },
};
const NOT_COMPLETE: Problem = {
  code: 'hypervisor',
  message: 'This machine does not run with VMware: VMware has no proven way to wait for the network.',
  hint: 'Download the release completely first.',
};

/** What is installed: both where all is well, nothing where things go wrong; and where somebody has said where it is. */
export function survey(scene: Scene, settings: Settings): HypervisorStatus[] {
  return KINDS.map((kind) => {
    const chosen = settings.get(`${kind}.program`);
    if (!chosen && scene !== 'lively' && (scene === 'failed' || kind === 'vmware')) {
      return { kind, name: FOUND[kind].name.split(' ')[0] ?? '', program: '', version: '', accelerator: '', limits: [], problem: MISSING[kind] };
    }
    const slow = kind === 'qemu' && scene === 'offline';
    const limits = [
      ...(slow ? ['Machines run about ten times slower than with the processor\'s help. kvm: /dev/kvm is not there.'] : []),
      ...(kind === 'vmware' && !streams(settings) ? ['Machines start when their release is completely here.'] : []),
    ];
    return { kind, ...FOUND[kind], program: chosen || FOUND[kind].program, ...(slow ? { accelerator: 'tcg' } : {}), limits, problem: null };
  });
}

/** The hypervisor that a start takes, and why another was passed over. */
export function choose(found: HypervisorStatus[], settings: Settings, livepc: LivePc, asked: HypervisorKind | null): Pick<LivePc, 'hypervisor' | 'passed_over'> {
  const only = asked ?? boundTo(livepc);
  const wanted = settings.get('hypervisor');
  const order = only ? [only] : [...KINDS].sort((a, b) => Number(b === wanted) - Number(a === wanted));
  const refused: Problem[] = [];
  for (const kind of order) {
    const missing = found.find((h) => h.kind === kind)?.problem ?? null;
    const problem = missing ?? (kind === 'vmware' && !livepc.complete && !streams(settings) ? NOT_COMPLETE : null);
    // That one is not installed is only news to those who want it.
    const news = refused.filter((p) => p === NOT_COMPLETE || wanted !== 'auto');
    if (!problem) return { hypervisor: kind, passed_over: news.map((p) => p.message).join(' ') || null };
    refused.push(problem);
  }
  throw refused[0];
}

function streams(settings: Settings): boolean {
  return settings.get('vmware.streaming') === 'true';
}
