// What a host's translator worker imports.

export { runTranslator, type Translation, type TranslatorStart } from '@mimic/cpu';
