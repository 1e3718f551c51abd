// Values as something unknown plus a constant: which addresses are how far apart. Modulo 4 GiB, since 32 bits may be cut out of
// a sum: addresses that wrap around between the two count as near. Nothing whose low 32 bits depend on more of its operands
// than theirs may be compared, then.

import type { Local, Node } from '../../lift/ir.ts';
import { operationKind } from './purity.ts';

/** `root` names the unknown part; 0 is none. */
export interface Affine {
  readonly root: number;
  readonly plus: number;
}

/** Their low 32 bits follow from those of their operands; all of 32 bits that i32 operations give do so, too. */
const IS_MODULAR = /^(i32\.|i64\.(add|sub|mul|shl|and|or|xor|extend)(_|\d|$))/;
/** Sums stay exact. */
const CONSTANT_MAX = 2 ** 50;

export class AffineValues {
  readonly #variables: ReadonlySet<Local>;
  readonly #values = new Map<Local, Affine>();
  readonly #roots = new Map<string, number>();
  /** Roots of what has been extended to 64 bits, and of what that was. */
  readonly #extended = new Map<number, number>();
  #last = 0;
  /** Variables set inside arms, with what was known before. */
  readonly #trail: { local: Local; before: Affine | undefined }[] = [];
  #depth = 0;

  constructor(variables: ReadonlySet<Local>) {
    this.#variables = variables;
  }

  #unknown(): Affine {
    return { root: ++this.#last, plus: 0 };
  }

  /** A local takes a value. */
  set(local: Local, value: Node): void {
    if (local.type !== 'i64' && this.#variables.has(local)) return;
    this.#change(local, this.#isPlain(value) ? this.of(value) : this.#unknown());
  }
  /** A local takes a value that nobody knows. */
  forget(local: Local): void {
    this.#change(local, this.#unknown());
  }
  #change(local: Local, value: Affine): void {
    if (this.#depth) this.#trail.push({ local, before: this.#values.get(local) });
    this.#values.set(local, value);
  }

  /** Arms: what is set in one is not known on another, nor behind it. */
  arm(visit: () => void, leaves: boolean): readonly Local[] {
    const mark = this.#trail.length;
    this.#depth++;
    visit();
    this.#depth--;
    const set: Local[] = [];
    while (this.#trail.length > mark) {
      const { local, before } = this.#trail.pop()!;
      if (before) this.#values.set(local, before);
      else this.#values.delete(local);
      if (!leaves && this.#variables.has(local)) set.push(local);
    }
    return set;
  }

  /** Worth looking at where it is set: addresses are sums. */
  #isPlain(value: Node): boolean {
    if (value.kind === 'local' || value.kind === 'const') return true;
    if (value.kind !== 'op') return false;
    return /^i(32|64)\.(add|sub|wrap_i64|extend_i32_u)$/.test(value.op) || isCut(value);
  }

  of(node: Node): Affine {
    switch (node.kind) {
      case 'const':
        return this.#constant(node.value);
      case 'local':
        return this.#local(node.local);
      case 'op':
        return this.#operation(node);
      default:
        return this.#unknown();
    }
  }
  #constant(value: number | bigint | Uint8Array): Affine {
    if (value instanceof Uint8Array) return this.#unknown();
    const plus = Number(value);
    return Math.abs(plus) < CONSTANT_MAX ? { root: 0, plus } : this.#unknown();
  }
  #local(local: Local): Affine {
    const known = this.#values.get(local);
    if (known) return known;
    const value = this.#unknown();
    // Variables of other types are not followed.
    if (local.type === 'i64' || !this.#variables.has(local)) this.#change(local, value);
    return value;
  }
  #operation(node: Node & { kind: 'op' }): Affine {
    if (operationKind(node.op) !== 'pure' || node.lanes || !IS_MODULAR.test(node.op))
      return this.#unknown();
    const args = node.args.map((arg) => this.of(arg));
    const [a, b] = args as [Affine, Affine];
    if (isCut(node) && a.root) return { root: this.#extend(this.#wrap(a.root)), plus: a.plus };
    switch (node.op) {
      case 'i32.add':
      case 'i64.add':
        if (!b.root) return this.#sum(a.root, a.plus + b.plus);
        if (!a.root) return this.#sum(b.root, a.plus + b.plus);
        return this.#sum(this.#root(node.op, a.root, b.root), a.plus + b.plus);
      case 'i32.sub':
      case 'i64.sub':
        if (!b.root) return this.#sum(a.root, a.plus - b.plus);
        return this.#sum(this.#root(node.op, a.root, b.root), a.plus - b.plus);
      case 'i32.wrap_i64':
        return a.root ? { root: this.#wrap(a.root), plus: a.plus } : this.#unknown();
      case 'i64.extend_i32_u':
        return a.root ? { root: this.#extend(a.root), plus: a.plus } : this.#unknown();
    }
    return { root: this.#root(node.op, ...args.flatMap((x) => [x.root, x.plus])), plus: 0 };
  }
  #sum(root: number, plus: number): Affine {
    return Math.abs(plus) < CONSTANT_MAX ? { root, plus } : this.#unknown();
  }
  #wrap(of: number): number {
    return this.#extended.get(of) ?? this.#root('wrap', of);
  }
  #extend(of: number): number {
    const root = this.#root('extend', of);
    this.#extended.set(root, of);
    return root;
  }
  /** Equal operations on equal operands have the same unknown part. */
  #root(...parts: readonly (string | number)[]): number {
    const key = parts.join();
    let root = this.#roots.get(key);
    if (root === undefined) {
      root = ++this.#last;
      this.#roots.set(key, root);
    }
    return root;
  }
}

/** The low 32 bits of a value are taken. */
function isCut({ op, args }: Node & { kind: 'op' }): boolean {
  const [, mask] = args;
  return op === 'i64.and' && mask?.kind === 'const' && mask.value === 0xffff_ffffn;
}
