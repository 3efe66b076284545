import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Problem } from '../src/lib/bindings/Problem';
import type { Message, Notes } from '../src/lib/host';
import { TauriHost } from '../src/lib/tauri';

const shell = vi.hoisted(() => ({ invoke: vi.fn(), listen: vi.fn() }));
vi.mock('@tauri-apps/api/core', () => ({ invoke: shell.invoke }));
vi.mock('@tauri-apps/api/event', () => ({ listen: shell.listen }));

const PANIC: Problem = { code: 'failed', message: 'The app has failed at files.rs:1:1: a mistake.', hint: 'Please report it.' };

beforeEach(() => {
  shell.invoke.mockReset();
  shell.listen.mockReset().mockResolvedValue(() => undefined);
});

describe('a shell that fails', () => {
  it('says why, whatever it was asked', async () => {
    shell.invoke.mockRejectedValue(PANIC);
    const host = new TauriHost();
    for (const asked of [
      host.call({ verb: 'snapshot' }),
      host.chooseCd('A CD'),
      host.choosePlace('A place', ''),
      host.suggestPlace('lab.vmx'),
      host.dismissNotice('It was damaged.'),
    ]) {
      await expect(asked).rejects.toEqual(PANIC);
    }
  });

  it('gives a problem also if it says something else', async () => {
    shell.invoke.mockRejectedValue('command choose_cd not allowed');
    await expect(new TauriHost().chooseCd('A CD')).rejects.toMatchObject({ code: 'failed', message: 'command choose_cd not allowed' });
  });

  it('is told where nobody has asked', async () => {
    shell.invoke.mockRejectedValue(PANIC);
    const told = await new Promise<Message>((done) => void new TauriHost().onMessage(done));
    expect(told).toEqual({ screen: null, feed: null, problem: PANIC });
  });
});

describe('notes', () => {
  it('are asked for once they can be heard, and taken as they come', async () => {
    const first: Notes = { notice: 'It was damaged.', older: null };
    const then: Notes = { notice: null, older: '0.1.0' };
    const order: string[] = [];
    shell.listen.mockImplementation(async (_event: string, fn: (e: { payload: Notes }) => void) => {
      order.push('listen');
      setTimeout(() => fn({ payload: then }), 10);
      return () => undefined;
    });
    shell.invoke.mockImplementation(async (name: string) => {
      order.push(name);
      return first;
    });
    const heard: Notes[] = [];
    new TauriHost().onNotes((notes) => heard.push(notes));
    await vi.waitFor(() => expect(heard).toEqual([first, then]));
    expect(order).toEqual(['listen', 'notes']);
  });
});
