// Built statements as text, for golden files and for people. Locals are numbered as they appear; a load or store
// relative to the vCPU's base is shown by the name of its field.

import { type Field, S, X87_SIGN_EXPONENT } from '../state/layout.ts';
import type { Local, Node, Statement } from './ir.ts';

const FIELDS: readonly Field[] = [...Object.values(S), X87_SIGN_EXPONENT];

/** 'gpr[3]', 'rip', 'xmm[2]+8', or undefined beyond the registers. */
function fieldName(offset: number): string | undefined {
  const field = FIELDS.findLast(
    (f) => offset >= f.offset && offset < f.offset + f.stride * f.count,
  );
  if (!field) return undefined;
  const index = Math.floor((offset - field.offset) / field.stride);
  const rest = (offset - field.offset) % field.stride;
  return `${field.name}${field.count > 1 ? `[${index}]` : ''}${rest ? `+${rest}` : ''}`;
}

class Printer {
  readonly lines: string[] = [];
  readonly #names: Map<Local, string>;
  #unnamed = 0;
  readonly #labels = new Map<number, string>();
  #depth = 0;

  constructor(names: ReadonlyMap<Local, string>) {
    this.#names = new Map(names);
  }

  #line(text: string): void {
    this.lines.push(`${'  '.repeat(this.#depth)}${text}`);
  }
  #name(local: Local): string {
    if (local.parameter === 0) return 'cpu';
    if (local.parameter !== undefined) return `p${local.parameter}`;
    const known = this.#names.get(local);
    if (known) return known;
    const name = `$${this.#unnamed++}`;
    this.#names.set(local, name);
    return name;
  }
  #label(id: number): string {
    if (!this.#labels.has(id)) this.#labels.set(id, `L${this.#labels.size}`);
    return this.#labels.get(id)!;
  }

  body(statements: readonly Statement[]): void {
    for (const s of statements) this.#statement(s);
  }
  #nested(statements: readonly Statement[]): void {
    this.#depth++;
    this.body(statements);
    this.#depth--;
  }
  #statement(s: Statement): void {
    switch (s.kind) {
      case 'set':
        this.#line(`${this.#name(s.local)} = ${s.isPlace ? 'unset' : this.#node(s.value)}`);
        return;
      case 'store':
        this.#line(`${s.op} ${this.#place(s.address, s.offset)} <- ${this.#node(s.value)}`);
        return;
      case 'effect':
        this.#line(`${s.op}(${this.#list(s.args)})`);
        return;
      case 'call':
        this.#line(`call ${s.callee.name}(${this.#list(s.args)})`);
        return;
      case 'if':
        this.#line(
          `if${s.likely === undefined ? '' : s.likely ? ' likely' : ' unlikely'} ${this.#node(s.condition)}`,
        );
        this.#nested(s.whenTrue);
        if (!s.otherwise.length) return;
        this.#line('else');
        this.#nested(s.otherwise);
        return;
      case 'switch':
        this.#line(`switch ${this.#node(s.selector)}`);
        s.cases.forEach((arm, n) => {
          this.#line(`case ${n}`);
          this.#nested(arm);
        });
        this.#line('otherwise');
        this.#nested(s.otherwise);
        return;
      case 'loop':
      case 'block':
        this.#line(`${s.kind} ${this.#label(s.label.id)}`);
        this.#nested(s.body);
        return;
      case 'branch':
        this.#line(`branch ${this.#label(s.label.id)}`);
        return;
      case 'return':
        this.#line(`return${s.value ? ` ${this.#node(s.value)}` : ''}`);
        return;
      case 'exit':
        this.#line(`exit ${s.exit}`);
        return;
      case 'trap':
        this.#line('trap');
    }
  }
  #list(nodes: readonly Node[]): string {
    return nodes.map((node) => this.#node(node)).join(', ');
  }
  #place(address: Node, offset: number): string {
    const isState = address.kind === 'local' && address.local.parameter === 0;
    const name = isState ? fieldName(offset) : undefined;
    return name ?? `[${this.#node(address)}${offset ? ` + ${offset}` : ''}]`;
  }
  #node(node: Node): string {
    switch (node.kind) {
      case 'const':
        return constantText(node.value);
      case 'local':
        return this.#name(node.local);
      case 'op':
        return `${node.op}${node.lanes ? `<${node.lanes.join(' ')}>` : ''}(${this.#list(node.args)})`;
      case 'select':
        return `select(${this.#list([node.condition, node.whenTrue, node.otherwise])})`;
      case 'load':
        return `${node.op} ${this.#place(node.address, node.offset)}`;
      case 'call':
        return `call ${node.callee.name}(${this.#list(node.args)})`;
    }
  }
}

function constantText(value: number | bigint | Uint8Array): string {
  if (value instanceof Uint8Array)
    return `0x${[...value]
      .reverse()
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')}`;
  const isSmall = value >= -256 && value <= 256;
  if (isSmall || !Number.isInteger(Number(value))) return String(value);
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** The statements as lines of text; the same statements give the same text in every run. `names` of locals are optional. */
export function printStatements(
  statements: readonly Statement[],
  names: ReadonlyMap<Local, string> = new Map(),
): string {
  const printer = new Printer(names);
  printer.body(statements);
  return `${printer.lines.join('\n')}\n`;
}
