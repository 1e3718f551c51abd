// One look at the TLB for several accesses off one base. An access whose address is near one that was looked up reads that
// entry's tag and addend again instead of its own. It compares the tag with its own address: if that lies in another page,
// or has wrapped around to one, the slow path does the whole of it. So nearness need be right only modulo 4 GiB, lest the
// tag of an empty entry be met (TLB_EMPTY_DISTANCE). What a tag and its addend promise stays true until something flushes
// the TLB, which nothing does that the code of a block calls (settled-state.ts); whoever fills entries leaves the old promise
// as good as it was.
//
// Knows what access.ts makes: an entry, its addend, its tag.

import type { FunctionRef } from '../../lift/function.ts';
import type { Local, Node, Statement } from '../../lift/ir.ts';
import { eachOperand, mapOperands } from '../../lift/traverse.ts';
import { TLB_INDEX } from '../../microcode/tlb.ts';
import { TLB_ENTRY } from '../../state/layout.ts';
import { type Affine, AffineValues } from './affine.ts';
import { ending, forEachSet, mapExpressions, type PassContext, variablesOf } from './pass.ts';
import { isStateAddress } from './purity.ts';
import { flushesTlb } from './settled-state.ts';

/** Addresses as far apart as this share a look: one in sixteen of the farthest then lies in another page. */
const REACH = 256;

/** An entry's tag is read so many statements behind its addend. */
const TAG_DISTANCE = 3;

interface Look {
  /** The address that was looked up. */
  readonly address: Affine;
  readonly tlb: Local;
  readonly entry: Local;
}

/** What was read from an entry, and whether the tag is that of writes: what may be written may be read. */
interface Parts {
  readonly tag: Local;
  readonly addend: Local;
  readonly mayWrite: boolean;
}

const NO_LOOKS: readonly Look[] = [];

class LookSharer {
  readonly #variables: ReadonlySet<Local>;
  readonly #values: AffineValues;
  /** By the unknown part of the address, the latest first. */
  readonly #looks = new Map<number, readonly Look[]>();
  readonly #parts = new Map<Local, Parts | undefined>();
  /** Changes of the maps inside arms. */
  readonly #trail: (() => void)[] = [];
  #depth = 0;
  /** Locals that are left out, and what is read instead: neither ever changes. */
  readonly #aliases = new Map<Local, Node>();

  constructor(variables: ReadonlySet<Local>) {
    this.#variables = variables;
    this.#values = new AffineValues(variables);
  }

  readonly #node = (node: Node): Node => {
    if (node.kind === 'local') return this.#aliases.get(node.local) ?? node;
    return node.kind === 'const' ? node : mapOperands(node, this.#node);
  };

  list(statements: readonly Statement[]): readonly Statement[] {
    let changed: Statement[] | undefined;
    for (let n = 0; n < statements.length; n++) {
      const s = statements[n]!;
      const result = this.#statement(s, statements, n);
      if (result === s) changed?.push(s);
      else {
        changed ??= statements.slice(0, n);
        if (result) changed.push(result);
      }
    }
    return changed ?? statements;
  }

  #statement(given: Statement, list: readonly Statement[], n: number): Statement | undefined {
    const s = this.#aliases.size ? mapExpressions(given, this.#node) : given;
    switch (s.kind) {
      case 'set':
        return this.#set(s, list, n);
      case 'call':
        s.args.forEach(this.#noticeCalls);
        this.#called(s.callee);
        return s;
      case 'if': {
        const [whenTrue, otherwise] = this.#arms(s.whenTrue, s.otherwise);
        if (whenTrue === s.whenTrue && otherwise === s.otherwise) return s;
        return { ...s, whenTrue: whenTrue!, otherwise: otherwise! };
      }
      case 'switch': {
        const arms = this.#arms(...s.cases, s.otherwise);
        return { ...s, cases: arms.slice(0, -1), otherwise: arms.at(-1)! };
      }
      case 'block':
      case 'loop': {
        // Control comes back to a loop's head, and out of the middle of a block.
        const forget = () => forEachSet(s.body, (local) => this.#values.forget(local));
        if (s.kind === 'loop') forget();
        const [body] = this.#arms(s.body);
        forget();
        return body === s.body ? s : { ...s, body: body! };
      }
      default:
        return s;
    }
  }

  /** Arms of which one runs. */
  #arms(...arms: readonly (readonly Statement[])[]): readonly (readonly Statement[])[] {
    const set: Local[] = [];
    const result = arms.map((arm) => {
      if (!arm.length) return arm;
      const mark = this.#trail.length;
      let inner = arm;
      this.#depth++;
      const visit = () => {
        inner = this.list(arm);
      };
      set.push(...this.#values.arm(visit, ending(arm) === 'leaves'));
      this.#depth--;
      while (this.#trail.length > mark) this.#trail.pop()!();
      return inner;
    });
    for (const local of set) this.#values.forget(local);
    return result;
  }
  #put<K, V>(map: Map<K, V>, key: K, value: V): void {
    if (this.#depth) {
      const before = map.get(key);
      this.#trail.push(() => (before === undefined ? map.delete(key) : map.set(key, before)));
    }
    map.set(key, value);
  }

  readonly #noticeCalls = (node: Node): void => {
    if (node.kind === 'call') this.#called(node.callee);
    if (node.kind !== 'const' && node.kind !== 'local') eachOperand(node, this.#noticeCalls);
  };
  #called(callee: FunctionRef): void {
    if (!flushesTlb(callee)) return;
    for (const entry of [...this.#parts.keys()]) this.#put(this.#parts, entry, undefined);
  }

  #set(
    s: Statement & { kind: 'set' },
    list: readonly Statement[],
    n: number,
  ): Statement | undefined {
    const { local, value } = s;
    this.#noticeCalls(value);
    if (!this.#variables.has(local)) {
      // A tag that was read before.
      if (this.#aliases.has(local)) return undefined;
      const look = addressOfEntry(value);
      if (look) return this.#entry(s, look);
      if (isPart(value) && value.offset === TLB_ENTRY.addend && this.#addend(s, value, list, n))
        return undefined;
    }
    this.#values.set(local, value);
    return s;
  }

  /** An entry is looked for. */
  #entry(
    s: Statement & { kind: 'set' },
    { address, tlb }: { address: Node; tlb: Local },
  ): Statement | undefined {
    const at = this.#values.of(address);
    const known = this.#looks.get(at.root) ?? NO_LOOKS;
    const near = known.find(
      (look) => look.tlb === tlb && Math.abs(look.address.plus - at.plus) <= REACH,
    );
    if (near) {
      this.#alias(s.local, near.entry);
      return undefined;
    }
    this.#put(this.#looks, at.root, [{ address: at, tlb, entry: s.local }, ...known]);
    return s;
  }
  #alias(local: Local, same: Local): void {
    this.#aliases.set(local, { kind: 'local', type: same.type, local: same });
  }

  /** An addend is read, and the tag behind it: true if what was read before does as well. */
  #addend(
    { local }: Statement & { kind: 'set' },
    { address }: Part,
    list: readonly Statement[],
    n: number,
  ): boolean {
    const tag = this.#tagBehind(list, n, address.local);
    if (!tag) return false;
    const known = this.#parts.get(address.local);
    if (known && (known.mayWrite || !tag.mayWrite)) {
      this.#alias(local, known.addend);
      this.#alias(tag.local, known.tag);
      return true;
    }
    const parts = { tag: tag.local, addend: local, mayWrite: tag.mayWrite };
    this.#put(this.#parts, address.local, parts);
    return false;
  }
  #tagBehind(list: readonly Statement[], n: number, entry: Local) {
    for (const s of list.slice(n + 1, n + 1 + TAG_DISTANCE)) {
      if (s.kind !== 'set' || !isPart(s.value)) continue;
      const { offset } = s.value;
      if (offset === TLB_ENTRY.addend) continue;
      const address = this.#node(s.value.address);
      if (address.kind === 'local' && address.local === entry)
        return { local: s.local, mayWrite: offset === TLB_ENTRY.writeTag };
    }
    return undefined;
  }
}

type Part = Node & { kind: 'load' } & { readonly address: Node & { kind: 'local' } };
/** Something is read that may be of an entry. */
function isPart(value: Node): value is Part {
  return value.kind === 'load' && value.address.kind === 'local' && !isStateAddress(value.address);
}

/** What an entry is looked up for, if the expression finds one (`tlbEntry`). */
function addressOfEntry(value: Node): { address: Node; tlb: Local } | undefined {
  if (value.kind !== 'op' || value.op !== 'i32.add') return undefined;
  const [index, tlb] = value.args;
  if (tlb?.kind !== 'local' || index?.kind !== 'op' || index.op !== 'i32.and') return undefined;
  const [shifted, mask] = index.args;
  if (mask?.kind !== 'const' || mask.value !== TLB_INDEX.mask) return undefined;
  if (shifted?.kind !== 'op' || shifted.op !== 'i32.shr_u') return undefined;
  const [address, by] = shifted.args;
  if (by?.kind !== 'const' || by.value !== TLB_INDEX.shift) return undefined;
  return { address: address!, tlb: tlb.local };
}

export function shareLooks(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  return new LookSharer(variablesOf(statements, context)).list(statements);
}
