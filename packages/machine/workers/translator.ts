// What a host's translator worker imports.

export { runTranslator, type TranslatorMessage, type TranslatorStart } from '@mimic/cpu';
