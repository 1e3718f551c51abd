// Random programs in the lift language, for tests that run the same program in two ways.

import { S } from '../../state/layout.ts';
import type { FunctionRef } from '../function.ts';
import type { Lift, Variable } from '../lift.ts';
import type { Value } from '../value.ts';

const ROUNDS_MAX = 5;

export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 1;
  }
  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

type IntegerType = 'i32' | 'i64';

/** Builds random statements; values and variables in reach are those that the language lets one use. */
export class Program {
  readonly #l: Lift;
  readonly #random: Random;
  readonly #callees: readonly FunctionRef[];
  readonly #hasExits: boolean;
  #values: Value[];
  #variables: { type: IntegerType; variable: Variable }[] = [];

  constructor(
    l: Lift,
    random: Random,
    params: readonly Value[],
    callees: readonly FunctionRef[],
    options: { readonly hasExits?: boolean } = {},
  ) {
    this.#l = l;
    this.#random = random;
    this.#values = [...params];
    this.#callees = callees;
    this.#hasExits = options.hasExits ?? false;
  }

  value(type: IntegerType, depth = 2): Value {
    const r = this.#random;
    const known = this.#values.filter((v) => v.type === type);
    if (depth === 0 || r.below(4) === 0) return known.length ? r.pick(known) : this.#constant(type);
    const sub = (t: IntegerType = type) => this.value(t, depth - 1);
    switch (r.below(9)) {
      case 0:
        return type === 'i32' ? sub('i64').i32() : sub('i32').s64();
      case 1:
        return type === 'i32' ? sub('i64').ltu(sub('i64')) : sub('i32').u64();
      case 2:
        return this.#l.select(sub('i32'), sub(), sub());
      case 3:
        return type === 'i64' ? this.#l.get(S.gpr, r.below(4)) : this.#l.get(S.mxcsr);
      case 4: {
        const variables = this.#variables.filter((v) => v.type === type);
        return variables.length ? r.pick(variables).variable.get() : sub();
      }
      case 5:
        return sub().shru(sub());
      default:
        return r.pick([
          (a: Value, b: Value) => a.add(b),
          (a: Value, b: Value) => a.mul(b),
          (a: Value, b: Value) => a.xor(b),
        ])(sub(), sub());
    }
  }
  #constant(type: IntegerType): Value {
    const n = this.#random.below(2 ** 32);
    return type === 'i32'
      ? this.#l.i32(n | 0)
      : this.#l.i64(BigInt(n) << BigInt(this.#random.below(32)));
  }
  #type(): IntegerType {
    return this.#random.below(2) ? 'i32' : 'i64';
  }

  /** A scope: what it introduces is out of reach behind it. */
  scope(depth: number, leave?: () => void): void {
    const outer = { values: this.#values, variables: this.#variables };
    this.#values = [...outer.values];
    this.#variables = [...outer.variables];
    const count = 2 + this.#random.below(5);
    for (let n = 0; n < count; n++) this.#statement(depth, leave);
    this.#values = outer.values;
    this.#variables = outer.variables;
  }
  #statement(depth: number, leave?: () => void): void {
    const [l, r] = [this.#l, this.#random];
    const type = this.#type();
    switch (r.below(depth > 0 ? 13 : 6)) {
      case 0:
      case 1:
        this.#values.push(l.let(this.value(type)));
        return;
      case 2:
        this.#variables.push({ type, variable: l.var(type, this.value(type)) });
        return;
      case 3:
        if (this.#variables.length) {
          const v = r.pick(this.#variables);
          v.variable.set(this.value(v.type));
        }
        return;
      case 4:
        l.set(S.gpr, this.value('i64'), r.below(4));
        return;
      case 5:
        l.set(S.mxcsr, this.value('i32'));
        return;
      case 6:
      case 7:
        l.if(
          this.value('i32'),
          () => this.scope(depth - 1, leave),
          r.below(2) ? () => this.scope(depth - 1, leave) : undefined,
          r.pick([undefined, true, false]),
        );
        return;
      case 8:
        l.switch(
          this.value('i32').and(3),
          Array.from({ length: r.below(4) }, () => () => this.scope(depth - 1, leave)),
          () => this.scope(depth - 1, leave),
        );
        return;
      case 9:
        this.#loop(depth);
        return;
      case 10:
        l.block((out) => this.scope(depth - 1, () => l.if(this.value('i32').and(1), out)));
        return;
      case 11:
        if (this.#hasExits)
          l.if(this.value('i32').and(6).eqz(), () => l.exit('jump', r.below(100)));
        else if (leave) leave();
        else
          this.#values.push(
            l.choose(
              this.value('i32'),
              type,
              () => this.value(type),
              () => this.value(type),
            ),
          );
        return;
      default:
        this.#call();
    }
  }
  #loop(depth: number): void {
    const l = this.#l;
    const rounds = l.var('i32', this.#random.below(ROUNDS_MAX));
    l.loop((again, done) => {
      l.if(rounds.get().les(0), done);
      rounds.set(rounds.get().sub(1));
      this.scope(depth - 1, () => l.if(this.value('i32').and(2), done));
      l.if(this.value('i32').and(4), again);
      again();
    });
  }
  #call(): void {
    if (!this.#callees.length) return;
    const callee = this.#random.pick(this.#callees);
    this.#values.push(
      this.#l.call(callee, ...callee.params.map((type) => this.value(type as IntegerType))),
    );
  }
}
