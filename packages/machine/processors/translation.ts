// The machine's translator and ticker, started when it has translated code, and a processor's way to them.

import { engine, ThreadedTranslations, type TranslationSource, translatorStart } from '@mimic/cpu';
import type { TranslatorLink, WorkerHost } from '../host.ts';

/** What of the host has to do with translation. */
export type TranslatorHost = Pick<
  WorkerHost<never>,
  | 'now'
  | 'startTranslator'
  | 'receiveTranslation'
  | 'collectGarbage'
  | 'startTicker'
  | 'startProcessor'
>;

/** Starts both; gives each processor's way from the translator. */
export function startTranslation(
  host: TranslatorHost,
  options: {
    memory: WebAssembly.Memory;
    vcpuCount: number;
    lacking: ReadonlySet<string>;
  },
): readonly TranslatorLink[] {
  const { memory, vcpuCount } = options;
  const lacking = [...options.lacking];
  const engineOf = engine(vcpuCount === 1 ? 'one' : 'several');
  host.startTicker({ memory, vcpuCount });
  return host.startTranslator(
    translatorStart(engineOf, { memory, vcpuCount, lacking, counts: false }),
  );
}

export function translationsFrom(
  host: Pick<TranslatorHost, 'receiveTranslation' | 'collectGarbage'>,
  options: { memory: WebAssembly.Memory; index: number; link: TranslatorLink },
): TranslationSource {
  const { memory, index, link } = options;
  return new ThreadedTranslations({
    memory,
    index,
    receive: () => host.receiveTranslation(link),
    collectGarbage: () => host.collectGarbage(),
  });
}
