import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PAGE, translationPage } from './translation-stages.ts';

test('docs/design/translation-stages.md is what the translator makes', () => {
  const isCurrent = readFileSync(PAGE, 'utf8') === translationPage();
  assert.ok(isCurrent, `${PAGE} is out of date: npm run translation-page`);
});
