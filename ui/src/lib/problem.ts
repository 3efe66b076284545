import type { Code } from './bindings/Code';
import type { Problem } from './bindings/Problem';

/** Codes where doing the same again cannot end otherwise, or only after something else. */
const FINAL: ReadonlySet<Code> = new Set(['usage', 'not-found', 'trust', 'login', 'update-livepc', 'cancelled']);

/** True if Retry makes sense. */
export function canRetry(problem: Problem): boolean {
  return !FINAL.has(problem.code);
}

/** What “Copy details” copies: enough to report the problem. */
export function details(problem: Problem, about?: string | null): string {
  return [
    ...(about ? [`About: ${about}`] : []),
    `Code: ${problem.code}`,
    `Message: ${problem.message}`,
    ...(problem.hint ? [`Hint: ${problem.hint}`] : []),
    `Version: LivePC ${__APP_VERSION__}`,
  ].join('\n');
}

/** Copies text; gives whether it worked. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Some webviews have no clipboard without a permission; the old way needs none.
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand?.('copy') ?? false;
    area.remove();
    return done;
  }
}
