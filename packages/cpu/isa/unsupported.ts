// Instructions that exist and that this processor does not have: each decodes to #UD and shows in the coverage page.
// SDM vol 2 (062US), AMD APM vol 3 where Intel has none. EVEX-encoded ones are behind one line, VEX-encoded ones in unsupported-vex.ts.

import { Ev, form, Gv, type Instruction, M, Mv, ONLY64, Rq, unsupported } from './instruction.ts';
import { INSTRUCTIONS_UNSUPPORTED_VEX } from './unsupported-vex.ts';

/** x86-64-v4 and APX: all behind the EVEX and REX2 prefixes; outside 64-bit mode register forms of BOUND. */
const VECTOR_EXTENSIONS: readonly Instruction[] = [
  unsupported('EVEX', 'SDM vol 2A §2.7', form('62 /r', ONLY64)),
];

const CRYPTOGRAPHY: readonly Instruction[] = [
  unsupported('AESENC128KL', 'SDM vol 2A, AESENC128KL', form('F3 0F 38 DC /r')),
  unsupported('AESDEC128KL', 'SDM vol 2A, AESDEC128KL', form('F3 0F 38 DD /r')),
  unsupported('AESENC256KL', 'SDM vol 2A, AESENC256KL', form('F3 0F 38 DE /r')),
  unsupported('AESDEC256KL', 'SDM vol 2A, AESDEC256KL', form('F3 0F 38 DF /r')),
  unsupported('AESENCWIDE128KL', 'SDM vol 2A, AESENCWIDE128KL', form('F3 0F 38 D8 /r')),
  unsupported('ENCODEKEY128', 'SDM vol 2A, ENCODEKEY128', form('F3 0F 38 FA /r')),
  unsupported('ENCODEKEY256', 'SDM vol 2A, ENCODEKEY256', form('F3 0F 38 FB /r')),
];

const GENERAL: readonly Instruction[] = [
  unsupported('MOVDIRI', 'SDM vol 2B, MOVDIRI', form('NP 0F 38 F9 /r')),
  unsupported('MOVDIR64B', 'SDM vol 2B, MOVDIR64B', form('66 0F 38 F8 /r')),
  unsupported('ENQCMD', 'SDM vol 2A, ENQCMD', form('F2 0F 38 F8 /r')),
  unsupported('ENQCMDS', 'SDM vol 2A, ENQCMDS', form('F3 0F 38 F8 /r')),
  unsupported('AADD', 'SDM vol 2A, AADD', form('NP 0F 38 FC /r')),
  unsupported('AAND', 'SDM vol 2A, AAND', form('66 0F 38 FC /r')),
  unsupported('AOR', 'SDM vol 2A, AOR', form('F2 0F 38 FC /r')),
  unsupported('AXOR', 'SDM vol 2A, AXOR', form('F3 0F 38 FC /r')),
  unsupported('PTWRITE', 'SDM vol 2B, PTWRITE', form('F3 0F AE /4')),
  unsupported('TPAUSE', 'SDM vol 2B, TPAUSE', form('66 0F AE /6', Rq)),
  unsupported('UMWAIT', 'SDM vol 2B, UMWAIT', form('F2 0F AE /6', Rq)),
  unsupported('UMONITOR', 'SDM vol 2B, UMONITOR', form('F3 0F AE /6', Rq)),
  unsupported('SERIALIZE', 'SDM vol 2B, SERIALIZE', form('NP 0F 01 E8')),
  unsupported('XSUSLDTRK', 'SDM vol 2D, XSUSLDTRK', form('F2 0F 01 E8')),
  unsupported('XRESLDTRK', 'SDM vol 2D, XRESLDTRK', form('F2 0F 01 E9')),
  unsupported('RDPKRU', 'SDM vol 2B, RDPKRU', form('0F 01 EE')),
  unsupported('WRPKRU', 'SDM vol 2D, WRPKRU', form('0F 01 EF')),
  unsupported('XABORT', 'SDM vol 2D, XABORT', form('C6 F8 ib')),
  unsupported('XBEGIN', 'SDM vol 2D, XBEGIN', form('C7 F8')),
  unsupported('XEND', 'SDM vol 2D, XEND', form('NP 0F 01 D5')),
  unsupported('XTEST', 'SDM vol 2D, XTEST', form('NP 0F 01 D6')),
  unsupported('HRESET', 'SDM vol 2A, HRESET', form('F3 0F 3A F0 C0 ib')),
  unsupported('JMPE', 'Itanium ADM vol 4, JMPE', form('0F B8 /r', Gv, Ev), form('0F 00 /6', Ev)),
];

const CONTROL_FLOW_ENFORCEMENT: readonly Instruction[] = [
  unsupported('INCSSP', 'SDM vol 2A, INCSSPD/INCSSPQ', form('F3 0F AE /5', Rq)),
  unsupported('CLRSSBSY', 'SDM vol 2A, CLRSSBSY', form('F3 0F AE /6', M)),
  unsupported('RSTORSSP', 'SDM vol 2B, RSTORSSP', form('F3 0F 01 /5', M)),
  unsupported('SETSSBSY', 'SDM vol 2B, SETSSBSY', form('F3 0F 01 E8')),
  unsupported('SAVEPREVSSP', 'SDM vol 2B, SAVEPREVSSP', form('F3 0F 01 EA')),
  unsupported('WRSS', 'SDM vol 2D, WRSSD/WRSSQ', form('NP 0F 38 F6 /r', Mv, Gv)),
  unsupported('WRUSS', 'SDM vol 2D, WRUSSD/WRUSSQ', form('66 0F 38 F5 /r')),
];

const USER_INTERRUPTS: readonly Instruction[] = [
  unsupported('UIRET', 'SDM vol 2B, UIRET', form('F3 0F 01 EC')),
  unsupported('TESTUI', 'SDM vol 2B, TESTUI', form('F3 0F 01 ED')),
  unsupported('CLUI', 'SDM vol 2A, CLUI', form('F3 0F 01 EE')),
  unsupported('STUI', 'SDM vol 2B, STUI', form('F3 0F 01 EF')),
  unsupported('SENDUIPI', 'SDM vol 2B, SENDUIPI', form('F3 0F C7 /6', Rq)),
];

const VIRTUALISATION: readonly Instruction[] = [
  unsupported('ENCLV', 'SDM vol 3D, ENCLV', form('NP 0F 01 C0')),
  unsupported('VMCALL', 'SDM vol 3C, VMCALL', form('NP 0F 01 C1')),
  unsupported('VMLAUNCH', 'SDM vol 3C, VMLAUNCH', form('NP 0F 01 C2')),
  unsupported('VMRESUME', 'SDM vol 3C, VMRESUME', form('NP 0F 01 C3')),
  unsupported('VMXOFF', 'SDM vol 3C, VMXOFF', form('NP 0F 01 C4')),
  unsupported('PCONFIG', 'SDM vol 2B, PCONFIG', form('NP 0F 01 C5')),
  unsupported('ENCLS', 'SDM vol 3D, ENCLS', form('NP 0F 01 CF')),
  unsupported('VMFUNC', 'SDM vol 3C, VMFUNC', form('NP 0F 01 D4')),
  unsupported('ENCLU', 'SDM vol 3D, ENCLU', form('NP 0F 01 D7')),
  unsupported('VMREAD', 'SDM vol 3C, VMREAD', form('NP 0F 78 /r')),
  unsupported('VMWRITE', 'SDM vol 3C, VMWRITE', form('NP 0F 79 /r')),
  unsupported('VMPTRLD', 'SDM vol 3C, VMPTRLD', form('NP 0F C7 /6', M)),
  unsupported('VMCLEAR', 'SDM vol 3C, VMCLEAR', form('66 0F C7 /6', M)),
  unsupported('VMXON', 'SDM vol 3C, VMXON', form('F3 0F C7 /6', M)),
  unsupported('VMPTRST', 'SDM vol 3C, VMPTRST', form('NP 0F C7 /7', M)),
  unsupported('INVEPT', 'SDM vol 3C, INVEPT', form('66 0F 38 80 /r', Gv, M)),
  unsupported('INVVPID', 'SDM vol 3C, INVVPID', form('66 0F 38 81 /r', Gv, M)),
  unsupported('GETSEC', 'SDM vol 2D, GETSEC', form('NP 0F 37')),
  unsupported('TDCALL', 'SDM vol 3D, TDCALL', form('66 0F 01 CC')),
  unsupported('SEAMRET', 'SDM vol 3D, SEAMRET', form('66 0F 01 CD')),
  unsupported('SEAMOPS', 'SDM vol 3D, SEAMOPS', form('66 0F 01 CE')),
  unsupported('SEAMCALL', 'SDM vol 3D, SEAMCALL', form('66 0F 01 CF')),
];

/** Instructions of AMD and others that Intel processors never had. */
const AMD: readonly Instruction[] = [
  unsupported('VMRUN', 'AMD APM vol 3, VMRUN', form('0F 01 D8')),
  unsupported('VMMCALL', 'AMD APM vol 3, VMMCALL', form('0F 01 D9')),
  unsupported('VMLOAD', 'AMD APM vol 3, VMLOAD', form('0F 01 DA')),
  unsupported('VMSAVE', 'AMD APM vol 3, VMSAVE', form('0F 01 DB')),
  unsupported('STGI', 'AMD APM vol 3, STGI', form('0F 01 DC')),
  unsupported('CLGI', 'AMD APM vol 3, CLGI', form('0F 01 DD')),
  unsupported('SKINIT', 'AMD APM vol 3, SKINIT', form('0F 01 DE')),
  unsupported('INVLPGA', 'AMD APM vol 3, INVLPGA', form('0F 01 DF')),
  unsupported('MONITORX', 'AMD APM vol 3, MONITORX', form('0F 01 FA')),
  unsupported('MWAITX', 'AMD APM vol 3, MWAITX', form('0F 01 FB')),
  unsupported('CLZERO', 'AMD APM vol 3, CLZERO', form('0F 01 FC')),
  unsupported('RDPRU', 'AMD APM vol 3, RDPRU', form('0F 01 FD')),
  unsupported('INVLPGB', 'AMD APM vol 3, INVLPGB', form('0F 01 FE')),
  unsupported('TLBSYNC', 'AMD APM vol 3, TLBSYNC', form('0F 01 FF')),
  unsupported('FEMMS', 'AMD 3DNow! manual, FEMMS', form('0F 0E')),
  unsupported('3DNOW', 'AMD 3DNow! manual', form('0F 0F /r')),
  unsupported('EXTRQ', 'AMD APM vol 4, EXTRQ', form('66 0F 78 /0'), form('66 0F 79 /r')),
  unsupported('INSERTQ', 'AMD APM vol 4, INSERTQ', form('F2 0F 78 /r'), form('F2 0F 79 /r')),
  unsupported('MOVNTSS', 'AMD APM vol 4, MOVNTSS', form('F3 0F 2B /r', M)),
  unsupported('MOVNTSD', 'AMD APM vol 4, MOVNTSD', form('F2 0F 2B /r', M)),
];

export const INSTRUCTIONS_UNSUPPORTED: readonly Instruction[] = [
  ...VECTOR_EXTENSIONS,
  ...CRYPTOGRAPHY,
  ...GENERAL,
  ...CONTROL_FLOW_ENFORCEMENT,
  ...USER_INTERRUPTS,
  ...VIRTUALISATION,
  ...AMD,
  ...INSTRUCTIONS_UNSUPPORTED_VEX,
];
