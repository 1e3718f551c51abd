// What a pass is: an equivalent list of statements for the straight code of one block. Nodes and statements are never
// changed in place; what a pass leaves alone is the same object behind it, so a pass that finds nothing copies nothing.

import type { Local, Node, Statement } from '../../lift/ir.ts';
import { mapList } from '../../lift/traverse.ts';

export interface PassContext {
  /** Locals of the region that live longer than the block: registers, flags. Several blocks set them. */
  readonly mutable: ReadonlySet<Local>;
  /** Those of `mutable` that are read behind the block; without it, all. */
  readonly liveAtEnd?: ReadonlySet<Local>;
  /** Those of `mutable` that are read behind an exit; without it, all. */
  readonly liveAtExit?: (exit: Statement & { kind: 'exit' }) => ReadonlySet<Local>;
  /** `variablesOf` the statements, where someone has looked already. */
  readonly variables?: ReadonlySet<Local>;
}

export type Pass = (statements: readonly Statement[], context: PassContext) => readonly Statement[];

/** Locals that may change while the block runs: the region's, and those that several statements set. */
export function variablesOf(
  statements: readonly Statement[],
  context: PassContext,
): ReadonlySet<Local> {
  if (context.variables) return context.variables;
  const variables = new Set(context.mutable);
  const once = new Set<Local>();
  forEachSet(statements, (local) => {
    if (variables.has(local)) return;
    if (once.has(local)) variables.add(local);
    else once.add(local);
  });
  return variables;
}

/** Reports each `set`, in order, nested ones too. */
export function forEachSet(statements: readonly Statement[], found: (local: Local) => void): void {
  for (let n = 0; n < statements.length; n++) {
    const s = statements[n]!;
    if (s.kind === 'set') found(s.local);
    else if (s.kind === 'if') {
      forEachSet(s.whenTrue, found);
      forEachSet(s.otherwise, found);
    } else if (s.kind === 'loop' || s.kind === 'block') forEachSet(s.body, found);
    else if (s.kind === 'switch') {
      for (const arm of s.cases) forEachSet(arm, found);
      forEachSet(s.otherwise, found);
    }
  }
}

/** How control leaves the end of a list: it goes on, goes to a label, or leaves the block for good. */
export function ending(statements: readonly Statement[]): 'continues' | 'branches' | 'leaves' {
  switch (statements.at(-1)?.kind) {
    case 'branch':
      return 'branches';
    case 'exit':
    case 'return':
    case 'trap':
      return 'leaves';
    default:
      return 'continues';
  }
}

// --- rewriting; the same object comes back where nothing changed ---

/** Changes the expressions of a statement itself, in the order in which they are evaluated; not those nested in it. */
export function mapExpressions(s: Statement, change: (node: Node) => Node): Statement {
  switch (s.kind) {
    case 'set': {
      const value = change(s.value);
      return value === s.value ? s : { kind: 'set', local: s.local, value };
    }
    case 'store': {
      const address = change(s.address);
      const value = change(s.value);
      return address === s.address && value === s.value ? s : { ...s, address, value };
    }
    case 'effect':
    case 'call': {
      const args = mapList(s.args, change);
      return args === s.args ? s : { ...s, args };
    }
    case 'if': {
      const condition = change(s.condition);
      return condition === s.condition ? s : { ...s, condition };
    }
    case 'switch': {
      const selector = change(s.selector);
      return selector === s.selector ? s : { ...s, selector };
    }
    case 'return': {
      const value = s.value && change(s.value);
      return value === s.value ? s : { ...s, value };
    }
    default:
      return s;
  }
}
