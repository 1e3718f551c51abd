// All passes over the statements of one block, in the order in which each makes work for the next. V8 optimises what
// comes out; the aim here is less of it, and fewer locals, so that hot code is compiled soon.

import type { Statement } from '../../lift/ir.ts';
import { removeDead } from './dead.ts';
import { shareLooks } from './looks.ts';
import { type Pass, type PassContext, variablesOf } from './pass.ts';
import { propagate } from './propagate.ts';
import { simplify } from './simplify.ts';
import { shareSubexpressions } from './subexpressions.ts';
import { buildTrees } from './tree.ts';

export type { Pass, PassContext } from './pass.ts';

export const PIPELINE: readonly { readonly name: string; readonly pass: Pass }[] = [
  { name: 'propagate', pass: propagate },
  { name: 'subexpressions', pass: shareSubexpressions },
  { name: 'looks', pass: shareLooks },
  { name: 'simplify', pass: simplify },
  { name: 'dead', pass: removeDead },
  { name: 'tree', pass: buildTrees },
];

/** Statements of a block that do what the given ones do; the same list when there is nothing to gain. */
export function optimise(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  const known = { ...context, variables: variablesOf(statements, context) };
  return PIPELINE.reduce((list, { pass }) => pass(list, known), statements);
}
