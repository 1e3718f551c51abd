// Which forms of the instruction table are compared with silicon, and where.

import { type Encoding, parseEncoding } from '../../packages/cpu/decode/opcode-map.ts';
import { FORMS, type TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import { WORLD_NAMES, WORLDS, type WorldName } from './worlds.ts';

/** Instructions that user mode on a host cannot show, with the reason. Each has tests of its own. */
const NOT_COMPARED: readonly { readonly names: RegExp; readonly reason: string }[] = [
  { names: /^(SYSCALL|SYSENTER)$/, reason: 'calls the host’s kernel' },
  {
    names: /^(RDTSCP?|RDPID|CPUID|RDRAND|RDSEED|XGETBV)$/,
    reason: 'tells the model, the time or chance',
  },
  { names: /^(SGDT|SIDT|SLDT|STR|SMSW)$/, reason: 'UMIP: the host’s kernel emulates it' },
  {
    names: /^(XSAVE|XSAVEC|XSAVEOPT|XRSTOR)$/,
    reason: 'the set of state components is the model’s',
  },
  { names: /^(MONITOR|MWAIT)$/, reason: 'may be allowed in user mode by the model' },
];

/** Why a form is not compared, or undefined. */
export function whyNotCompared(t: TableForm): string | undefined {
  if (!t.instruction.supported) return 'not supported: #UD here, and perhaps not on the host';
  return NOT_COMPARED.find(({ names }) => names.test(t.instruction.name))?.reason;
}

/** Opcode bytes of a form, parsed. */
export const ENCODINGS: ReadonlyMap<TableForm, Encoding> = new Map(
  FORMS.map((t) => [t, parseEncoding(t.form.encoding)]),
);

/** A form in one of the surroundings that it exists in. */
export interface PlacedForm {
  readonly table: TableForm;
  readonly world: WorldName;
}

export function worldsOf(t: TableForm): readonly WorldName[] {
  if (whyNotCompared(t)) return [];
  return WORLD_NAMES.filter((name) => {
    if (t.form.mode === '64') return WORLDS[name].bits === 64;
    return t.form.mode !== 'legacy' || WORLDS[name].bits !== 64;
  });
}
/** Every compared form in every world. */
export const PLACED: readonly PlacedForm[] = FORMS.flatMap((table) =>
  worldsOf(table).map((world) => ({ table, world })),
);
export const COMPARED_FORMS: readonly TableForm[] = FORMS.filter((t) => !whyNotCompared(t));

/** 'ADD 00 /r', 'PINSRB 66 0F 3A 20 /r memory': names a form in reports and recorded vectors. */
export function formName(t: TableForm): string {
  const mode = t.form.mode ? ` ${t.form.mode}` : '';
  const memory = t.form.operands.some((o) => o.source === 'rmMemory') ? ' memory' : '';
  return `${t.instruction.name} ${t.form.encoding}${memory}${mode}`;
}
